-- Bytes of each connection to packets: the handshake first, then one descriptor after the other. What is begun and not
-- whole is kept here, by connection: the pool has one thread, so this VM sees all of them.
local weir = require "weir"
local packet = require "packet"

local HELLO <const>, WELCOME <const> = "GNUTELLA CONNECT/0.4\n\n", "GNUTELLA OK\n\n"

local open = {} -- by connection: {buffer, shaken}

local function refuse(id, why)
    local conn = weir.conn(id)
    open[id] = nil
    weir.log.info("a peer is cut", {peer = conn and conn.remote, why = why})
    if conn then
        conn:abort()
    end
end

local function shake_hands(id, peer)
    if #peer.buffer < #HELLO then
        if HELLO:sub(1, #peer.buffer) ~= peer.buffer then
            refuse(id, "it does not speak Gnutella 0.4")
        end
        return false
    end
    if peer.buffer:sub(1, #HELLO) ~= HELLO then
        refuse(id, "it does not speak Gnutella 0.4")
        return false
    end
    peer.buffer, peer.shaken = peer.buffer:sub(#HELLO + 1), true
    local conn = weir.conn(id)
    if not conn or not conn:send(WELCOME) then
        return false
    end
    weir.emit("out", {event = "peer", conn = id})
    return true
end

local function cut_packets(id, peer)
    local at = 1
    while true do
        local guid, type, ttl, hops, length = packet.header(peer.buffer, at)
        if not guid then
            break
        end
        if length > packet.PAYLOAD_MAX or not packet.name(type) then
            return refuse(id, "a packet of an unknown kind, or too long")
        end
        if #peer.buffer - at + 1 < packet.HEADER + length then
            break
        end
        local from = at + packet.HEADER
        weir.emit("out", {conn = id, id = guid, type = type, ttl = ttl, hops = hops,
            payload = peer.buffer:sub(from, from + length - 1)})
        at = from + length
    end
    peer.buffer = peer.buffer:sub(at)
end

return function(event)
    local id = weir.meta().source
    if type(event) == "table" then
        open[id] = event.event == "open" and {buffer = "", shaken = false} or nil
        if event.event == "close" then
            weir.emit("out", {event = "gone", conn = id})
        end
        return
    end
    local peer = open[id]
    if not peer then
        return -- it was refused
    end
    peer.buffer = peer.buffer .. event
    if peer.shaken or shake_hands(id, peer) then
        cut_packets(id, peer)
    end
end
