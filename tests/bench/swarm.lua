-- Peers of the Gnutella router: two that join it, one sends packets at a fixed rate and the other gets what is passed on.
local socket = require "socket"
local place = require "place"
local processes = require "processes"

package.path = place.top .. "/scripts/gnutella/?.lua;" .. package.path
local packet = require "packet"

local M = {}

local QUERIES <const> = 0.15
local HELLO <const>, WELCOME <const> = "GNUTELLA CONNECT/0.4\n\n", "GNUTELLA OK\n\n"

local function join(port)
    local sock = assert(socket.connect("127.0.0.1", port))
    sock:setoption("tcp-nodelay", true)
    sock:send(HELLO)
    assert(sock:receive(#WELCOME) == WELCOME, "no handshake")
    sock:settimeout(0)
    return {sock = sock, buffer = "", out = ""}
end

-- Calls `on_packet` with what has come; reads nothing else.
local function read(peer, on_packet)
    local text, why, part = peer.sock:receive(65536)
    text = text or part
    if #text == 0 then
        assert(why == "timeout", why)
        return
    end
    peer.buffer = peer.buffer .. text
    local at = 1
    while true do
        local id, type, _, _, length = packet.header(peer.buffer, at)
        if not id or #peer.buffer - at + 1 < packet.HEADER + length then
            break
        end
        on_packet(id, type)
        at = at + packet.HEADER + length
    end
    peer.buffer = peer.buffer:sub(at)
end

local function flush(peer)
    while #peer.out > 0 do
        local sent, why, part = peer.sock:send(peer.out)
        assert(sent or why == "timeout", why)
        peer.out = peer.out:sub((sent or part) + 1)
        if not sent then
            return
        end
    end
end

local runs = 0

-- Sends `rate` packets a second for `seconds`; returns the latencies of pings and of queries (seconds), and how many
-- got no answer.
function M.load(port, rate, seconds)
    local sender, other = join(port), join(port)
    local sent, waiting, pings, queries = 0, {}, {}, {}
    runs = runs + 1
    local began, batch = socket.gettime(), {}
    local function on_packet(id, type)
        local at = waiting[id]
        if at then
            waiting[id] = nil
            local list = type == packet.PONG and pings or queries
            list[#list + 1] = socket.gettime() - at
        end
    end
    local function quiet() end
    while true do
        local now = socket.gettime() - began
        if now > seconds + 2 or (now > seconds and next(waiting) == nil) then
            break
        end
        local due = math.min(now, seconds) * rate // 1
        while sent < due do
            sent = sent + 1
            local is_query = (sent * QUERIES) // 1 > ((sent - 1) * QUERIES) // 1
            local id = ("<I8I8"):pack(sent, runs)
            waiting[id] = began + sent / rate -- when it was due: a sender that is late counts, too
            batch[#batch + 1] = is_query and packet.pack(id, packet.QUERY, 2, 0, "\0\0seda\0")
                or packet.pack(id, packet.PING, 2, 0, "")
        end
        if #batch > 0 then
            sender.out = sender.out .. table.concat(batch)
            batch = {}
        end
        flush(sender)
        socket.select({sender.sock, other.sock}, nil, 0.001)
        read(sender, on_packet)
        read(other, quiet)
    end
    local lost = 0
    for _ in pairs(waiting) do
        lost = lost + 1
    end
    sender.sock:close()
    other.sock:close()
    return pings, queries, lost
end

-- Mean, 99th percentile and greatest.
function M.sum_up(list)
    table.sort(list)
    local sum = 0
    for _, value in ipairs(list) do
        sum = sum + value
    end
    return #list > 0 and sum / #list or 0, list[math.max(1, #list * 99 // 100)] or 0, list[#list] or 0
end

-- `arguments`: more of them for `weir run`.
function M.start(threads, arguments)
    local port = processes.free_port()
    local admin = place.out .. "/gnutella.sock"
    os.remove(admin)
    local command = "env GNUTELLA_PORT=%d SEARCH_THREADS=%d %s run %s --admin %s %s"
    local server = processes.start("gnutella", command:format(port, threads, place.weir,
        place.quote(place.top .. "/scripts/gnutella"), place.quote(admin), arguments or ""), port)
    server.admin = admin
    return server
end

return M
