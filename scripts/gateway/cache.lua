-- Answers in memory, the ones used last, within a bound of bytes. A worker's own: nothing is shared, nothing is locked.
-- luacheck: no max line length
local M = {}
M.__index = M

local OVERHEAD <const> = 500 -- of an entry, roughly

function M.new(bytes)
    local cache = setmetatable({bytes = 0, most = bytes, entries = {}, ring = {}}, M)
    cache.ring.newer, cache.ring.older = cache.ring, cache.ring -- newer: the oldest; older: the newest
    return cache
end

local function unlink(entry)
    entry.newer.older, entry.older.newer = entry.older, entry.newer
end

local function link(ring, entry)
    local newest = ring.older
    entry.older, entry.newer = newest, ring
    newest.newer, ring.older = entry, entry
end

function M:drop(entry)
    unlink(entry)
    self.entries[entry.key] = nil
    self.bytes = self.bytes - entry.size
end

-- The answer kept under `key`, unless its time is over at `now`.
function M:get(key, now)
    local entry = self.entries[key]
    if not entry then
        return nil
    elseif entry.expires <= now then
        self:drop(entry)
        return nil
    end
    unlink(entry)
    link(self.ring, entry)
    return entry
end

-- Keeps an answer; true, or false when it is larger than an eighth of all there is.
function M:put(key, answer, now, seconds)
    local size = #key + #answer.body + OVERHEAD
    for name, value in pairs(answer.headers) do
        size = size + #name + #value
    end
    local old = self.entries[key]
    if old then
        self:drop(old)
    end
    if size > self.most // 8 then
        return false
    end
    local entry = {key = key, size = size, stored = now, expires = now + seconds, status = answer.status, headers = answer.headers,
        body = answer.body}
    self.entries[key] = entry
    self.bytes = self.bytes + size
    link(self.ring, entry)
    while self.bytes > self.most do
        self:drop(self.ring.newer)
    end
    return true
end

-- For how many seconds an answer may be kept by a cache that many share; nil: not at all.
function M.lifetime(answer)
    local control = answer.headers["cache-control"]
    if answer.status ~= 200 or not control or answer.headers.vary or #answer.cookies > 0 then
        return nil
    end
    control = control:lower()
    if control:find("no-store", 1, true) or control:find("no-cache", 1, true) or control:find("private", 1, true) then
        return nil
    end
    local seconds = tonumber(control:match "s%-maxage=(%d+)" or control:match "max%-age=(%d+)")
    return seconds and seconds > 0 and seconds or nil
end

return M
