"""The functions that run inside Redis."""

from worker.erasure_scripts import GUARD

STAYS = """
-- Whether preferences hold for good: who objects to profiling must not be profiled for having been
-- away for long. (Within a text of JSON a quotation mark has a backslash before it.)
local function stays(wishes)
  return string.find(wishes, '"profiling":false', 1, true)
end
"""

WRITE_READERS = (
    GUARD
    + STAYS
    + """
-- Compare and set, for each reader: history, profile, recommendations.
-- KEYS: four per reader (these and preferences), then the click log if it lies on this node. ARGV:
-- time to live, most entries of the log, then six values per reader, all in one string behind the
-- string of their lengths, because each argument costs the client a microsecond: the header of the
-- history the new one was made from, history, profile, recommendations, what the log is told, the
-- preferences that the page heeds. A profile of '' is none. Returns the numbers (from 1) of the
-- readers whose history or preferences have changed meanwhile, or who were erased: those are left
-- as they are, and the log is told nothing of them.
local lost, told = {}, {}
local at = 1
for reader = 1, math.floor(#KEYS / 4) do
  local key = 4 * reader - 3
  local values = {struct.unpack('>I4I4I4I4I4I4', ARGV[3], 24 * reader - 23)}
  for number = 1, 6 do
    at, values[number] = at + values[number], string.sub(ARGV[4], at, at + values[number] - 1)
  end
  local wishes = redis.call('GET', KEYS[key + 3]) or ''
  if not erased(reader) and wishes == values[6]
    and redis.call('GETRANGE', KEYS[key], 0, 7) == values[1] then
    if wishes ~= '' and not stays(wishes) then
      redis.call('PEXPIRE', KEYS[key + 3], ARGV[1])
    end
    redis.call('SET', KEYS[key], values[2], 'PX', ARGV[1])
    if values[3] == '' then
      redis.call('DEL', KEYS[key + 1])
    else
      redis.call('SET', KEYS[key + 1], values[3], 'PX', ARGV[1])
    end
    redis.call('SET', KEYS[key + 2], values[4], 'PX', ARGV[1])
    told[#told + 1] = values[5]
  else
    lost[#lost + 1] = reader
  end
end
local entry = table.concat(told)
if #KEYS % 4 == 1 and entry ~= '' then
  redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', ARGV[2], '*', 'clicks', entry)
  redis.call('PEXPIRE', KEYS[#KEYS], ARGV[1])
end
return lost
"""
)

WRITE_SHOWINGS = (
    GUARD
    + """
-- Compare and set the showings of each reader. KEYS: one per reader, then the click log if it lies
-- on this node. ARGV: time to live, most entries of the log, then three per reader: the header of
-- the showings the new ones were made from, showings, what the log is told. Returns the numbers of
-- the readers whose showings have changed meanwhile, or who were erased: the log is told nothing of
-- them.
local lost, told = {}, {}
local readers = (#ARGV - 2) / 3
for reader = 1, readers do
  local arg = 3 * reader
  if not erased(reader) and redis.call('GETRANGE', KEYS[reader], 0, 7) == ARGV[arg] then
    redis.call('SET', KEYS[reader], ARGV[arg + 1], 'PX', ARGV[1])
    told[#told + 1] = ARGV[arg + 2]
  else
    lost[#lost + 1] = reader
  end
end
local entry = table.concat(told)
if #KEYS > readers and entry ~= '' then
  redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', ARGV[2], '*', 'clicks', entry)
  redis.call('PEXPIRE', KEYS[#KEYS], ARGV[1])
end
return lost
"""
)

WRITE_PAGES = (
    GUARD
    + STAYS
    + """
-- Store front pages made without a new click, of readers whose history and preferences are still
-- those that were read. KEYS: history, recommendations, preferences per reader. ARGV: time to live,
-- then four per reader: the header of the history, recommendations ('' for no new ones), the
-- preferences that were read, those that the page heeds ('' for none). Returns the numbers of the
-- others, and of the erased.
local lost = {}
for reader = 1, #KEYS / 3 do
  local key, arg = 3 * reader - 2, 4 * reader - 2
  local wishes = redis.call('GET', KEYS[key + 2]) or ''
  if not erased(reader) and wishes == ARGV[arg + 2]
    and redis.call('GETRANGE', KEYS[key], 0, 7) == ARGV[arg] then
    if ARGV[arg + 1] ~= '' then redis.call('SET', KEYS[key + 1], ARGV[arg + 1], 'PX', ARGV[1]) end
    if stays(ARGV[arg + 3]) then
      redis.call('SET', KEYS[key + 2], ARGV[arg + 3])
    elseif ARGV[arg + 3] ~= '' then
      redis.call('SET', KEYS[key + 2], ARGV[arg + 3], 'PX', ARGV[1])
    end
  else
    lost[#lost + 1] = reader
  end
end
return lost
"""
)

NOTE_ARTICLES = """
-- Give changed articles the next sequence numbers, so that every worker's catalogue follows.
-- KEYS: index, sequence, sums. ARGV: time to live, then an id and the checksum of its text for each
-- article; '' leaves that as it is.
for at = 2, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[2]), ARGV[at])
  if ARGV[at + 1] ~= '' then
    redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1])
  end
end
for key = 1, 3 do
  redis.call('PEXPIRE', KEYS[key], ARGV[1])
end
return (#ARGV - 1) / 2
"""
