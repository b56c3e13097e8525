-- Where each packet goes: pings and queries to all other peers, once; answers back the way that the question came;
-- pushes to who offered the file. One thread, so the peers are in a plain table.
local weir = require "weir"
local packet = require "packet"

local M = {}
local peers = {} -- connections that have shaken hands

-- The ways back, by id: which connection a ping or a query came from, and who has a servent's files. In a shared table, which forgets them
-- after a while and holds no more than its bytes; so many entries in the VM would all be visited by its collector.
local ways = weir.shared "ways"
local counters = {} -- by kind and fate

local function count(kind, fate)
    local name = kind .. " " .. fate
    counters[name] = counters[name] or weir.counter("gnutella_packets", {kind = kind, fate = fate})
    counters[name]:inc(1)
end

-- false: it is known already. Where there is no room, it is not remembered: answers to it are lost, and counted as that.
local function remember(kind, id, conn)
    local _, why = ways:add(kind .. id, conn)
    return why ~= "exists"
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
    if not remember("ping ", p.id, p.conn) then
        return "duplicate"
    end
    send(p.conn, packet.pack(p.id, packet.PONG, p.hops + 1, 0, packet.pong(2, 2048)))
    flood(p)
    return "flooded"
end

routes[packet.QUERY] = function(p)
    if not remember("query ", p.id, p.conn) then
        return "duplicate"
    end
    flood(p)
    local ok = weir.emit("search", {conn = p.conn, id = p.id, hops = p.hops, text = packet.query_text(p.payload)})
    return ok and "searched" or "not searched"
end

routes[packet.PONG] = function(p)
    return pass(p, ways:get("ping " .. p.id)) and "returned" or "lost"
end

routes[packet.HIT] = function(p)
    ways:set("servent " .. packet.servent_of_hit(p.payload), p.conn)
    return pass(p, ways:get("query " .. p.id)) and "returned" or "lost"
end

routes[packet.PUSH] = function(p)
    return pass(p, ways:get("servent " .. packet.servent_of_push(p.payload))) and "passed" or "lost"
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
