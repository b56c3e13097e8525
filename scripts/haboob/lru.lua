-- A table that holds at most a number of bytes and forgets what was used longest ago.
--
--   head (newest) <-> … <-> tail (oldest), a ring through `self.ring`; `self.nodes` finds a node by its key
local M = {}
M.__index = M

-- What a node, its table slots and its strings' headers take beside the caller's bytes, about.
local OVERHEAD = 400

function M.new(capacity)
    assert(math.type(capacity) == "integer" and capacity > 0, "lru: the capacity is a number of bytes")
    local ring = {}
    ring.next, ring.prev = ring, ring
    return setmetatable({capacity = capacity, bytes = 0, count = 0, evicted = 0, ring = ring, nodes = {}}, M)
end

local function unlink(node)
    node.prev.next, node.next.prev = node.next, node.prev
end

local function link_newest(ring, node)
    node.next, node.prev = ring.next, ring
    ring.next.prev, ring.next = node, node
end

local function forget(self, node)
    unlink(node)
    self.nodes[node.key] = nil
    self.bytes = self.bytes - node.bytes
    self.count = self.count - 1
end

-- The value of `key`, which becomes the newest; nil when there is none.
function M:get(key)
    local node = self.nodes[key]
    if not node then
        return nil
    end
    if self.ring.next ~= node then
        unlink(node)
        link_newest(self.ring, node)
    end
    return node.value
end

-- Keeps `value`, which counts for `bytes` bytes, under `key`, and forgets old ones to make room. False when it is larger
-- than all there is; then nothing is kept under `key`.
function M:put(key, value, bytes)
    local old = self.nodes[key]
    if old then
        forget(self, old)
    end
    bytes = bytes + OVERHEAD
    if bytes > self.capacity then
        return false
    end
    while self.bytes + bytes > self.capacity do
        forget(self, self.ring.prev)
        self.evicted = self.evicted + 1
    end
    local node = {key = key, value = value, bytes = bytes}
    self.nodes[key] = node
    link_newest(self.ring, node)
    self.bytes = self.bytes + bytes
    self.count = self.count + 1
    return true
end

function M:remove(key)
    local node = self.nodes[key]
    if node then
        forget(self, node)
    end
end

return M
