-- The packet router of the SEDA paper (section 5.2): packets at a fixed rate, 15 % of them queries that hold a thread of
-- a blocking pool for 20 ms. How long pings and queries take, with one thread and with five; and a soak at ten times the
-- rate with forty.
local socket = require "socket"
local place = require "place"
local processes = require "processes"

package.path = place.top .. "/scripts/gnutella/?.lua;" .. package.path
local packet = require "packet"

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
local function load_router(port, rate, seconds)
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

local function sum_up(list)
    table.sort(list)
    local sum = 0
    for _, value in ipairs(list) do
        sum = sum + value
    end
    return #list > 0 and sum / #list or 0, list[math.max(1, #list * 99 // 100)] or 0, list[#list] or 0
end

local function start(threads)
    local port = processes.free_port()
    local admin = place.out .. "/gnutella.sock"
    os.remove(admin)
    local command = "env GNUTELLA_PORT=%d SEARCH_THREADS=%d %s run %s --admin %s"
    local server = processes.start("gnutella", command:format(port, threads, place.weir,
        place.quote(place.top .. "/scripts/gnutella"), place.quote(admin)), port)
    server.admin = admin
    return server
end

local function measure(report, threads, rate, seconds)
    local server = start(threads)
    local case, subject = rate .. " packets/s", threads .. " threads"
    load_router(server.port, rate, 0.3)
    local before = processes.memory(server, "Rss")
    local pings, queries, lost = load_router(server.port, rate, seconds)
    local mean, p99, most = sum_up(pings)
    report:add(case, subject, "ping mean", mean)
    report:add(case, subject, "ping p99", p99)
    report:add(case, subject, "ping max", most)
    mean, p99, most = sum_up(queries)
    report:add(case, subject, "query mean", mean)
    report:add(case, subject, "query p99", p99)
    report:add(case, subject, "query max", most)
    report:add(case, subject, "unanswered", lost)
    report:add(case, subject, "grown", processes.memory(server, "Rss") - before)
    processes.stop(server)
end

local SOAK <const> = {rate = 10000, threads = 40, parts = 5}

-- One server under load for `seconds`, in parts: what it has grown by since the first one says whether it goes on.
local function soak(report, seconds)
    local server = start(SOAK.threads)
    local case, subject = SOAK.rate .. " packets/s", SOAK.threads .. " threads"
    local first
    for part = 1, SOAK.parts do
        local pings, queries, lost = load_router(server.port, SOAK.rate, seconds / SOAK.parts)
        local memory = processes.memory(server, "Rss")
        first = first or memory
        local name = ("%s, part %d"):format(subject, part)
        report:add(case, name, "ping mean", (sum_up(pings)))
        report:add(case, name, "ping p99", select(2, sum_up(pings)))
        report:add(case, name, "query mean", (sum_up(queries)))
        report:add(case, name, "query p99", select(2, sum_up(queries)))
        report:add(case, name, "unanswered", lost)
        report:add(case, name, "grown", memory - first)
    end
    processes.stop(server)
end

local function row(report, subject, rate)
    local case = rate .. " packets/s"
    local function cells(kind)
        return report:cell(case, subject, kind .. " mean", "%.2f", 1e3) .. " / " ..
            report:cell(case, subject, kind .. " p99", "%.1f", 1e3)
    end
    report:say(("%-16s %-19s %-24s %-24s %-12s %s"):format(case, subject,
        cells("ping"), cells("query"), report:cell(case, subject, "unanswered", "%.0f"),
        report:cell(case, subject, "grown", "%.0f KiB", 1 / 1024)))
end

return function(options, report)
    local rates <const> = {100, 200, 400, 1000}
    for _ = 1, options.rounds do
        for _, rate in ipairs(rates) do
            measure(report, 1, rate, options.seconds)
            measure(report, 5, rate, options.seconds)
        end
    end
    soak(report, options.seconds * 10)
    report:say(("%-37s%-25s%-25s%-13s%s"):format("milliseconds, mean / p99", "ping", "query", "unanswered",
        "memory grown by"))
    for _, threads in ipairs{1, 5} do
        for _, rate in ipairs(rates) do
            row(report, threads .. " threads", rate)
        end
    end
    report:say(("soak: %g s in %d parts, memory grown by since the first"):format(options.seconds * 10, SOAK.parts))
    for part = 1, SOAK.parts do
        row(report, ("%d threads, part %d"):format(SOAK.threads, part), SOAK.rate)
    end
end
