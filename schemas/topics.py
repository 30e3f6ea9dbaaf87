"""The names of the Kafka topics, and what each needs of the broker."""

import msgspec

ARTICLES = "articles"
CLICKS = "clicks"
ERASURES = "erasures"
IMPRESSIONS = "impressions"
PREFERENCES = "preferences"
PROFILES = "profiles"
READER_LABELS = "reader-labels"
RECOMMENDATIONS = "recommendations"
SERVED_FEATURES = "served-features"
VISITS = "visits"
DEAD_LETTERS = "dead-letters"


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """The topic names of one installation; all configurable, so that several share a broker."""

    articles: str = ARTICLES
    clicks: str = CLICKS
    erasures: str = ERASURES
    impressions: str = IMPRESSIONS
    preferences: str = PREFERENCES
    profiles: str = PROFILES
    reader_labels: str = READER_LABELS
    recommendations: str = RECOMMENDATIONS
    visits: str = VISITS
    served_features: str = SERVED_FEATURES
    dead_letters: str = DEAD_LETTERS

    def all(self) -> tuple[str, ...]:
        """Return every topic name, without repeats (articles and clicks may share one)."""
        return tuple(dict.fromkeys(getattr(self, field) for field in self.__struct_fields__))

    def config(self, topic: str) -> dict[str, str]:
        """Return the broker's settings for a topic: the newest per key is kept, or everything."""
        compacted = topic in (
            self.articles,
            self.erasures,
            self.preferences,
            self.profiles,
            self.reader_labels,
        )
        return {"cleanup.policy": "compact"} if compacted and topic != self.clicks else {}
