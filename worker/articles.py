"""Articles: encoded once, by whoever gets the message, and known to every worker soon after."""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from schemas.encoded import EncodedArticle, text_sum
from schemas.history import article_ref
from schemas.records import Article
from schemas.timestamps import to_ms
from schemas.tokenizer import article_text
from worker.article_store import ArticleStore
from worker.catalogue import Catalogue
from worker.model import Model
from worker.terms import article_terms

KEPT_CHARACTERS = 4000
"""Of a body: more than the encoder reads, enough to encode it again with another model."""

ARTICLES_PER_RUN = 256

_json = msgspec.json.Encoder()
_article_decoder = msgspec.json.Decoder(Article)


class Articles:
    """Encode new articles, and keep this worker's catalogue equal to what is in Redis."""

    def __init__(self, model: Model, catalogue: Catalogue, store: ArticleStore) -> None:
        self._model = model
        self._catalogue = catalogue
        self._store = store
        self._position = 0
        self._without_text: set[str] = set()
        self._with_older_text: set[str] = set()
        self.unserved: list[bytes] = []
        """References of articles encoded by `follow` whose waiting readers are to be renewed."""

    async def take(self, articles: Iterable[Article]) -> list[bytes]:
        """Encode and store articles; return their references.

        One that is stored already, with the same text and by the same model, is not encoded
        again.
        """
        batch = list(articles)
        refs = [article_ref(article.article_id) for article in batch]
        kept = [_kept(article) for article in batch]
        texts = [_json.encode(article) for article in kept]
        stored = await self._store.texts([article.article_id for article in batch])
        fresh = [
            i
            for i, (text, ref) in enumerate(zip(texts, refs, strict=True))
            if text != stored[i] or ref not in self._catalogue
        ]
        for start in range(0, len(fresh), ARTICLES_PER_RUN):
            part = fresh[start : start + ARTICLES_PER_RUN]
            encoded = await self._encode([kept[i] for i in part], [texts[i] for i in part])
            await self._store.put([texts[i] for i in part], encoded)
            self._learn(encoded)
            self._catalogue.bring_back(article_ref(article.article_id) for article in encoded)
        return refs

    async def withdraw(self, article_ids: Iterable[str]) -> None:
        """Let no worker recommend these articles any more."""
        batch = list(article_ids)
        for start in range(0, len(batch), ARTICLES_PER_RUN):
            part = batch[start : start + ARTICLES_PER_RUN]
            await self._store.withdraw(part)
            self._catalogue.withdraw(map(article_ref, part))

    async def follow(self) -> None:
        """Learn what changed in Redis since the last call.

        What only another model has encoded, as it is now, is encoded here; readers may wait for it:
        its references are added to `unserved`.
        """
        changes = await self._store.changes(self._position)
        # A text may come a moment after its number; one that is not there the second time is gone.
        again, without_text, with_older_text = self._without_text, set[str](), set[str]()
        others = (again | self._with_older_text).difference(changes.article_ids)
        article_ids = [*changes.article_ids, *others]
        for start in range(0, len(article_ids), ARTICLES_PER_RUN):
            part = article_ids[start : start + ARTICLES_PER_RUN]
            known = await self._store.encoded(part)
            withdrawn = await self._store.withdrawn(part)
            sums = dict(zip(part, await self._store.sums(part), strict=True))
            # First: an article must not be on offer for a moment between the two.
            self._catalogue.withdraw(_refs_where(part, withdrawn, True))
            self._catalogue.bring_back(_refs_where(part, withdrawn, False))
            for article in known:
                if article is not None:
                    self._catalogue.put(article)
            # A withdrawn article has no text, and must not leave the index: others may still have
            # to learn that it is withdrawn.
            missing = [
                each
                for each, article, gone in zip(part, known, withdrawn, strict=True)
                if not gone and not _is_made_from(article, sums[each])
            ]
            texts = dict(zip(missing, await self._store.texts(missing), strict=True))
            found = {each: text for each, text in texts.items() if text is not None}
            # Of an article that has changed the sum comes before the text.
            late = {
                each for each, text in found.items() if sums[each] not in (None, text_sum(text))
            }
            fresh = [text for each, text in found.items() if each not in late]
            encoded = await self._encode([_article_decoder.decode(each) for each in fresh], fresh)
            await self._store.put_encoded(encoded)
            self._learn(encoded)
            self.unserved += [article_ref(article.article_id) for article in encoded]
            gone = texts.keys() - found.keys()
            await self._store.forget(sorted(gone & again))
            without_text |= gone - again
            with_older_text |= late
        self._without_text, self._with_older_text = without_text, with_older_text
        self._position = changes.position

    def _learn(self, encoded: Iterable[EncodedArticle]) -> None:
        for article in encoded:
            self._catalogue.put(article)

    async def _encode(
        self, articles: list[Article], texts: Sequence[bytes]
    ) -> list[EncodedArticle]:
        if not articles:
            return []
        # Nearly a millisecond an article: in a thread, so that clicks go on meanwhile.
        return await asyncio.to_thread(self._encode_all, articles, texts)

    def _encode_all(
        self, articles: Sequence[Article], texts: Sequence[bytes]
    ) -> list[EncodedArticle]:
        reads_tags = self._model.manifest.reads_tags
        words = [
            article_text(article.title, article.body, article.tags if reads_tags else None)
            for article in articles
        ]
        rows = self._model.encode(words)
        return [
            EncodedArticle(
                article_id=article.article_id,
                model_version=self._model.manifest.model_version,
                row=row.tobytes(),
                tags=article.tags or [],
                published_ms=(
                    None if article.published_at is None else to_ms(article.published_at)
                ),
                language=article.language,
                terms=article_terms(article.title, article.body, article.tags),
                text_sum=text_sum(text),
            )
            for article, text, row in zip(articles, texts, rows, strict=True)
        ]


def _is_made_from(article: EncodedArticle | None, wanted: bytes | None) -> bool:
    """Tell whether an encoding is of the text with a checksum, where both are known."""
    return article is not None and (not wanted or article.text_sum in (b"", wanted))


def _refs_where(article_ids: list[str], marks: list[bool], value: bool) -> list[bytes]:
    return [
        article_ref(each) for each, mark in zip(article_ids, marks, strict=True) if mark is value
    ]


def _kept(article: Article) -> Article:
    if article.body is None or len(article.body) <= KEPT_CHARACTERS:
        return article
    return msgspec.structs.replace(article, body=article.body[:KEPT_CHARACTERS])
