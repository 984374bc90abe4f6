"""What must happen at once on the server, as scripts. KEYS[1] is the request stream, ARGV[1] its group.

Scripts rather than MULTI, because they can look before they write. Each is atomic, and may be sent again when its reply
was lost. Every key that they touch is in the slot of the request stream. Where memory is full, the first write of a
script must be one that Redis never denies; what follows it is not denied either.
"""

from __future__ import annotations

import hashlib
from typing import Final


class Script:
    """A script and the name that the server knows it by."""

    def __init__(self, body: str) -> None:
        self.body = body
        self.sha = hashlib.sha1(body.encode()).hexdigest()  # noqa: S324  # the name that EVALSHA wants


# {id, fields, deaths} of entries that are in the stream, of ids that are pending for us; what is pending and was
# deleted is let go. Redis's count of deliveries is how many workers have died with an entry. One that was let go in
# good order has 0: from now on it is in work.
_PRESENT: Final = """
local function present(ids)
  local found = {}
  for _, id in ipairs(ids) do
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
      local deaths = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1][4]
      if deaths == 0 then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'IDLE', 0, 'RETRYCOUNT', 1, 'JUSTID')
      end
      found[#found + 1] = {id, entry[2], deaths}
    else
      redis.call('XACK', KEYS[1], ARGV[1], id)
    end
  end
  return found
end
"""

PREPARE: Final = Script("""
-- ARGV: group, consumer. Makes stream, group and consumer. A group that nobody reads, and that has nothing pending,
-- begins at the start: whoever made it may have let it begin at the end, and all that is in the stream is unanswered.
redis.call('XACK', KEYS[1], ARGV[1], '0-0')
local function group()
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
  for _, each in ipairs(groups.err and {} or groups) do
    local said = {}
    for n = 1, #each, 2 do said[each[n]] = each[n + 1] end
    if said.name == ARGV[1] then return said end
  end
end
local found = group()
if not found then
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
elseif found.consumers == 0 and found.pending == 0 then
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], '0')
end
redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[2])
""")

OWN: Final = Script(
    _PRESENT
    + """
-- ARGV: group, consumer, the id to begin behind, how many. Returns the last id looked at, and what is pending for the
-- consumer.
local ids, last = {}, false
for _, each in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[4], ARGV[2])) do
  last = each[1]
  ids[#ids + 1] = last
end
return {last, present(ids)}
"""
)

CLAIM: Final = Script(
    _PRESENT
    + """
-- ARGV: group, consumer, idle time in ms, the id to begin at, how many. Returns the id to go on at, and what the
-- consumer has now.
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'JUSTID')
return {reply[1], present(reply[2])}
"""
)

KEEP: Final = Script("""
-- ARGV: group, consumer, idle time in ms, deaths or -1 for as many as before, ids. Notes both of those that are the
-- consumer's, and returns them.
local mine = {}
for n = 5, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[n], ARGV[n], 1, ARGV[2]) == 1 then mine[#mine + 1] = ARGV[n] end
end
for n = 1, #mine do
  local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, mine[n], 'IDLE', ARGV[3], 'JUSTID'}
  if ARGV[4] ~= '-1' then claim[10], claim[11] = 'RETRYCOUNT', ARGV[4] end
  redis.call(unpack(claim))
end
return mine
""")

LEAVE: Final = Script("""
-- ARGV: group, consumer, idle time in ms. Deletes consumers that have nothing: this one, and all that have been idle
-- for longer.
for _, each in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local said = {}
  for n = 1, #each, 2 do said[each[n]] = each[n + 1] end
  if said.pending == 0 and (said.name == ARGV[2] or said.idle > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], said.name)
  end
end
""")

ANSWER: Final = Script("""
-- ARGV: group, consumer, how many answers, their entries' ids, and for each how many commands write it, and each
-- command: how many words, and those. Writes what is not answered yet, and deletes its entry: an entry that is there is
-- not answered. A hash is replaced as a whole. Returns {position, reason} of each answer that can not be written, which
-- is pending for the consumer as before; positions count from 0.
local stream, group, answers = KEYS[1], ARGV[1], tonumber(ARGV[3])
local are_open = redis.call('XACK', stream, group, unpack(ARGV, 4, 3 + answers)) == answers
local refused, done, at = {}, {}, 4 + answers
for n = 1, answers do
  local id = ARGV[3 + n]
  local is_open = are_open or #redis.call('XRANGE', stream, id, id) == 1
  local commands, reason = tonumber(ARGV[at]), false
  at = at + 1
  for _ = 1, commands do
    local words = tonumber(ARGV[at])
    if is_open and not reason then
      local reply = redis.pcall(unpack(ARGV, at + 1, at + words))
      if ARGV[at + 1] == 'HSET' and (type(reply) == 'table' or reply < words / 2 - 1) then
        redis.call('DEL', ARGV[at + 2])
        reply = redis.pcall(unpack(ARGV, at + 1, at + words))
      end
      reason = type(reply) == 'table' and reply.err
    end
    at = at + words + 1
  end
  if reason then
    redis.call('XCLAIM', stream, group, ARGV[2], 0, id, 'FORCE', 'JUSTID')
    refused[#refused + 1] = {n - 1, reason}
  elseif is_open then
    done[#done + 1] = id
  end
end
if #done > 0 then redis.call('XDEL', stream, unpack(done)) end
return refused
""")
