-- Where each packet goes: pings and queries to all other peers, once; answers back the way that the question came;
-- pushes to who offered the file. One thread, so the tables are plain ones.
local weir = require "weir"
local packet = require "packet"

local M = {}
local peers = {} -- connections that have shaken hands
local Ways = {} -- ids to connections, forgotten after a while: two generations, the older one is dropped
Ways.__index = Ways

local function new_ways()
    return setmetatable({new = {}, old = {}}, Ways)
end

function Ways:get(key)
    return self.new[key] or self.old[key]
end

function Ways:set(key, conn)
    self.new[key] = conn
end

function Ways:forget()
    self.old, self.new = self.new, {}
end

local pings, queries, servents = new_ways(), new_ways(), new_ways()
local counters = {} -- by kind and fate

local function count(kind, fate)
    local name = kind .. " " .. fate
    counters[name] = counters[name] or weir.counter("gnutella_packets", {kind = kind, fate = fate})
    counters[name]:inc(1)
end

function M.init(ctx)
    weir.timer(ctx.config.forget or 60, function()
        pings:forget()
        queries:forget()
        servents:forget()
    end, {every = true})
end

local function send(id, bytes)
    local conn = peers[id] and weir.conn(id)
    return conn ~= nil and conn:send(bytes)
end

-- To every peer but the one that it came from.
local function flood(p)
    if p.ttl <= 1 then
        return
    end
    local bytes = packet.pack(p.id, p.type, p.ttl - 1, p.hops + 1, p.payload)
    for id in pairs(peers) do
        if id ~= p.conn then
            send(id, bytes)
        end
    end
end

-- Back, or on, to one peer. false: nobody knows the way.
local function pass(p, id)
    return id ~= nil and p.ttl > 1 and send(id, packet.pack(p.id, p.type, p.ttl - 1, p.hops + 1, p.payload))
end

local routes = {}

routes[packet.PING] = function(p)
    if pings:get(p.id) then
        return "duplicate"
    end
    pings:set(p.id, p.conn)
    send(p.conn, packet.pack(p.id, packet.PONG, p.hops + 1, 0, packet.pong(2, 2048)))
    flood(p)
    return "flooded"
end

routes[packet.QUERY] = function(p)
    if queries:get(p.id) then
        return "duplicate"
    end
    queries:set(p.id, p.conn)
    flood(p)
    local ok = weir.emit("search", {conn = p.conn, id = p.id, hops = p.hops, text = packet.query_text(p.payload)})
    return ok and "searched" or "not searched"
end

routes[packet.PONG] = function(p)
    return pass(p, pings:get(p.id)) and "returned" or "lost"
end

routes[packet.HIT] = function(p)
    servents:set(packet.servent_of_hit(p.payload), p.conn)
    return pass(p, queries:get(p.id)) and "returned" or "lost"
end

routes[packet.PUSH] = function(p)
    return pass(p, servents:get(packet.servent_of_push(p.payload))) and "passed" or "lost"
end

function M.handle(event)
    if event.event then
        peers[event.conn] = event.event == "peer" or nil
        return
    end
    event.ttl = math.min(event.ttl, packet.TTL_MAX)
    count(packet.name(event.type), routes[event.type](event))
end

return M
