"""The functions that run inside Redis and keep erased readers erased."""

GUARD = """
-- Before a script that writes of readers: has any been erased since they were read? KEYS and ARGV
-- end with what this takes off them. ARGV: the marks as they were read, each with a comma behind it
-- ('' if there was none at all); the secret as it was read; how many keys of marks; how many of the
-- secret (1, or 0 where it lies on another node). KEYS: the marks, the secret.
local num_secrets = tonumber(table.remove(ARGV))
local num_marks = tonumber(table.remove(ARGV))
local secret = table.remove(ARGV)
local expected, marked = {}, {}
for mark in string.gmatch(table.remove(ARGV), '([^,]*),') do expected[#expected + 1] = mark end
local others = num_secrets == 1 and (redis.call('GET', table.remove(KEYS)) or '') ~= secret
for reader = num_marks, 1, -1 do
  local mark = redis.call('GET', table.remove(KEYS)) or ''
  marked[reader] = mark ~= (expected[reader] or '')
end
local function erased(reader)
  return others or marked[reader]
end
"""

ERASE_READER = """
-- Erase a reader of whom is held what was read, and mark that it was done. KEYS: the mark, history,
-- showings, preferences, then all else that is kept of the reader. ARGV: time to live of the mark
-- in ms ('' for ever), time to live of the others, the mark as it was read ('' for none), the new
-- one, then of history, showings and preferences in turn how what was read begins and what is later
-- than the erasure, and stays ('' for nothing). Returns 1, or 0 if they have changed meanwhile.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[3] then return 0 end
for kind = 1, 3 do
  local begins = ARGV[3 + 2 * kind]
  local held = redis.call('GET', KEYS[1 + kind]) or ''
  if string.sub(held, 1, #begins) ~= begins or (begins == '' and held ~= '') then return 0 end
end
if ARGV[1] == '' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[1])
end
for kind = 1, 3 do
  local kept = ARGV[4 + 2 * kind]
  if kept == '' then
    redis.call('DEL', KEYS[1 + kind])
  elseif kind < 3 then  -- preferences stay whole, as they are
    redis.call('SET', KEYS[1 + kind], kept, 'PX', ARGV[2])
  end
end
for other = 5, #KEYS do redis.call('DEL', KEYS[other]) end
return 1
"""
