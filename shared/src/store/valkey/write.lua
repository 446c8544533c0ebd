#!lua
-- One conditional write: a record or a watermark, with the application's effects, its indexes and its long answer.
--
-- Everything that could fail is checked before the first write, because Redis does not undo the writes of a script
-- before an error. Because of the first line, the server refuses the whole script if its memory is full, on a replica,
-- and if it does not own the slot.
--
-- KEYS       the item, the index of UNKNOWN records, the index of claims, the long answer, then the key of each effect
-- ARGV       read in order by argument(): condition, effects, item, indexes, long answer
-- returns    {0}: applied; {1, item}: the condition does not hold; {2, number, value}: the condition of this effect does not

local place = 0
local function argument()
  place = place + 1
  return ARGV[place]
end
local function count() return tonumber(argument()) end

local item, unknown, claims, answer = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local EFFECTS = 4

-- The condition of the item: protocol::Condition, or the version of a watermark.
local function holds()
  if argument() == 'vacant' then
    local now = count()
    local expiration = redis.call('HGET', item, 'expiration')
    return redis.call('EXISTS', item) == 0 or (expiration and tonumber(expiration) <= now)
  end
  local same = true
  for _ = 1, count() do
    local field, expected = argument(), argument()
    same = same and (redis.call('HGET', item, field) or '') == expected
  end
  return same
end
if not holds() then return {1, redis.call('HGETALL', item)} end

local function is(key, type)
  local found = redis.call('TYPE', key).ok
  return found == 'none' or found == type
end

-- An integer as the server's own commands read it, in the range in which a Lua number is exact.
local EXACT = 9007199254740991
local function integer(text)
  if not text then return 0 end
  if text ~= '0' and not string.match(text, '^-?[1-9]%d*$') then return nil end
  local number = tonumber(text)
  return math.abs(number) <= EXACT and number or nil
end

-- Compares numbers as digits, of which there may be more than a Lua number holds.
local function below(text, limit)
  if not string.match(text, '^%d+$') then return false end
  return #text < #limit or (#text == #limit and text < limit)
end

local function added(found, by, minimum)
  local number = integer(found)
  if not number then return false end
  local sum = number + tonumber(by)
  return math.abs(sum) <= EXACT and (minimum == '' or sum >= tonumber(minimum))
end

-- Each function reads the arguments of one effect and returns its command, or, if the effect is refused, nothing and
-- the value of the key.
local read = {}

function read.set(key)
  local guard, expected, value = argument(), argument(), argument()
  if not is(key, 'string') then return nil end
  local found = guard ~= 'any' and redis.call('GET', key)
  local free = guard == 'any'
    or (guard == 'absent' and not found)
    or (guard == 'equal' and found == expected)
    or (guard == 'below' and (not found or below(found, expected)))
  if not free then return nil, found end
  return {'SET', key, value}
end

function read.increment(key)
  local by, minimum = argument(), argument()
  if not is(key, 'string') then return nil end
  local found = redis.call('GET', key)
  if not added(found, by, minimum) then return nil, found end
  return {'INCRBY', key, by}
end

function read.hash_increment(key)
  local field, by, minimum = argument(), argument(), argument()
  if not is(key, 'hash') then return nil end
  local found = redis.call('HGET', key, field)
  if not added(found, by, minimum) then return nil, found end
  return {'HINCRBY', key, field, by}
end

local function pairs_after(command)
  for _ = 1, count() do
    command[#command + 1] = argument()
    command[#command + 1] = argument()
  end
  return command
end

function read.hash_set(key)
  local guard = argument()
  local command = pairs_after({'HSET', key})
  if not is(key, 'hash') or (guard == 'absent' and redis.call('EXISTS', key) == 1) then return nil end
  return command
end

function read.set_add(key)
  local member = argument()
  return is(key, 'set') and {'SADD', key, member} or nil
end

function read.sorted_set_add(key)
  local score, member = argument(), argument()
  return is(key, 'zset') and {'ZADD', key, score, member} or nil
end

function read.stream_add(key)
  local command = pairs_after({'XADD', key, '*'})
  local found = redis.call('TYPE', key).ok
  if found == 'none' then return command end
  if found ~= 'stream' then return nil end
  -- A stream that has reached the highest id accepts no more.
  local info = redis.call('XINFO', 'STREAM', key)
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' and string.match(info[at + 1], '^18446744073709551615%-') then return nil end
  end
  return command
end

function read.list_push(key)
  local value = argument()
  return is(key, 'list') and {'RPUSH', key, value} or nil
end

local commands = {}
for number = 1, count() do
  local command, found = read[argument()](KEYS[EFFECTS + number])
  if not command then return {2, number - 1, found} end
  commands[number] = command
end

local fields = {}
for at = 1, 2 * count() do fields[at] = argument() end
local deletion, id, unknown_since, claimed = argument(), argument(), argument(), argument()
local answer_fields = {}
for at = 1, 2 * count() do answer_fields[at] = argument() end

-- The store's own keys have another type only if something else wrote to them.
for key, type in pairs({[unknown] = 'zset', [claims] = 'zset', [answer] = 'hash'}) do
  if key ~= item and not is(key, type) then return redis.error_reply('WRONGKEY ' .. key .. ' is not a ' .. type) end
end

for _, command in ipairs(commands) do redis.call(unpack(command)) end
-- Without fields, only the effects are written.
if #fields > 0 then
  redis.call('DEL', item)
  redis.call('HSET', item, unpack(fields))
end
if deletion ~= '' then redis.call('EXPIREAT', item, deletion) end
if unknown ~= item then
  if unknown_since ~= '' then redis.call('ZADD', unknown, unknown_since, id) else redis.call('ZREM', unknown, id) end
  if claimed ~= '' then redis.call('ZADD', claims, 0, id) else redis.call('ZREM', claims, id) end
end
if #answer_fields > 0 then
  redis.call('DEL', answer)
  redis.call('HSET', answer, unpack(answer_fields))
  redis.call('EXPIREAT', answer, deletion)
end
return {0}
