"""The functions that run inside Redis."""

WRITE_READERS = """
-- Compare and set, for each reader: history, profile, recommendations.
-- KEYS: three per reader, then the click log if it lies on this node. ARGV: time to live, most
-- entries of the log, then five per reader: the header of the history the new one was made from,
-- history, profile, recommendations, what the log is told. Returns the numbers (from 1) of the
-- readers whose history has changed meanwhile: those are left as they are, and the log is told
-- nothing of them.
local lost, told = {}, {}
for reader = 1, math.floor(#KEYS / 3) do
  local key, arg = 3 * reader - 2, 5 * reader - 2
  if redis.call('GETRANGE', KEYS[key], 0, 7) == ARGV[arg] then
    redis.call('SET', KEYS[key], ARGV[arg + 1], 'PX', ARGV[1])
    redis.call('SET', KEYS[key + 1], ARGV[arg + 2], 'PX', ARGV[1])
    redis.call('SET', KEYS[key + 2], ARGV[arg + 3], 'PX', ARGV[1])
    told[#told + 1] = ARGV[arg + 4]
  else
    lost[#lost + 1] = reader
  end
end
local entry = table.concat(told)
if #KEYS % 3 == 1 and entry ~= '' then
  redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', ARGV[2], '*', 'clicks', entry)
  redis.call('PEXPIRE', KEYS[#KEYS], ARGV[1])
end
return lost
"""

WRITE_SHOWINGS = """
-- Compare and set the showings of each reader. KEYS: one per reader, then the click log if it lies
-- on this node. ARGV: time to live, most entries of the log, then three per reader: the header of
-- the showings the new ones were made from, showings, what the log is told. Returns the numbers of
-- the readers whose showings have changed meanwhile: the log is told nothing of them.
local lost, told = {}, {}
local readers = (#ARGV - 2) / 3
for reader = 1, readers do
  local arg = 3 * reader
  if redis.call('GETRANGE', KEYS[reader], 0, 7) == ARGV[arg] then
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

WRITE_PAGES = """
-- Store front pages made without a new click, of readers whose history is still the one they were
-- made from. KEYS: history, recommendations per reader. ARGV: time to live, then two per reader:
-- the header of the history, recommendations. Returns the numbers of the others.
local lost = {}
for reader = 1, #KEYS / 2 do
  local key, arg = 2 * reader - 1, 2 * reader
  if redis.call('GETRANGE', KEYS[key], 0, 7) == ARGV[arg] then
    redis.call('SET', KEYS[key + 1], ARGV[arg + 1], 'PX', ARGV[1])
  else
    lost[#lost + 1] = reader
  end
end
return lost
"""

NOTE_ARTICLES = """
-- Give changed articles the next sequence numbers, so that every worker's catalogue follows.
-- KEYS: index, sequence. ARGV: time to live, then article references.
for article = 2, #ARGV do
  redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[2]), ARGV[article])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return #ARGV - 1
"""
