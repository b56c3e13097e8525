-- TLS beside nginx, both with OpenSSL and the same ciphers: whole handshakes, resumed ones, small answers, bulk.
local place = require "place"
local processes = require "processes"
local wrk = require "wrk"

local SERVER_CPU <const>, CLIENT_CPU <const> = 0, 1

-- openssl s_time makes one connection after the other and asks for /x on each.
local handshakes = {
    {name = "TLS 1.3, whole handshake", arguments = "-new -tls1_3"},
    {name = "TLS 1.2, whole handshake", arguments = "-new -tls1_2"},
    {name = "TLS 1.2, resumed", arguments = "-reuse -tls1_2"},
}
local loads = {
    {name = "hello, 64 connections", connections = 64, path = "/x"},
    {name = "1 MiB from memory, 8 connections", connections = 8, path = "/big"},
    {name = "1 MiB from a file, 8 connections", connections = 8, path = "/file"},
}

local function prepare()
    local prefix = place.out .. "/nginx-tls"
    place.shell(([[
mkdir -p PREFIX/files && head -c 1048576 /dev/zero >PREFIX/files/file &&
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout PREFIX/bench.key -out PREFIX/bench.pem 2>/dev/null]])
        :gsub("PREFIX", place.quote(prefix)))
    return prefix
end

local function start_nginx(prefix)
    local port = processes.free_port()
    local template = assert(place.read(place.bench .. "/nginx-tls.conf.in"))
    place.write(prefix .. "/nginx.conf", (template:gsub("@(%u+)@", {PORT = tostring(port), PREFIX = prefix})))
    return processes.start("nginx-tls", ("nginx -p %s -c nginx.conf"):format(place.quote(prefix)), port, SERVER_CPU)
end

local function start_weir(prefix)
    local port = processes.free_port()
    local command = ("env PORT=%d PAIR=%s/bench FILES=%s/files %s run %s --admin none"):format(port, place.quote(prefix),
        place.quote(prefix), place.weir, place.quote(place.bench .. "/apps/tls"))
    return processes.start("weir-tls", command, port, SERVER_CPU)
end

local function shake(report, server, case, seconds)
    local before = processes.cpu_ns(server)
    local text = place.capture(("taskset -c %d openssl s_time -connect 127.0.0.1:%d -www /x -time %d %s 2>&1"):format(CLIENT_CPU,
        server.port, seconds, case.arguments))
    local cpu = processes.cpu_ns(server) - before
    local count, real = text:match("(%d+) connections in (%d+) real seconds")
    count = assert(tonumber(count), "openssl s_time:\n" .. text)
    report:add(case.name, server.name, "cpu_us", cpu / count / 1000)
    report:add(case.name, server.name, "rate", count / tonumber(real))
end

local function show(report, list, servers, unit)
    for _, case in ipairs(list) do
        report:say("")
        report:say(case.name)
        local rows = {{"", "CPU µs/" .. unit, "of nginx", "per second"}}
        for _, server in ipairs(servers) do
            rows[#rows + 1] = {server.name, report:cell(case.name, server.name, "cpu_us", "%.1f"),
                report:ratio(case.name, "cpu_us", server.name, "nginx-tls"), report:cell(case.name, server.name, "rate", "%.0f")}
        end
        report:print_table(rows)
    end
end

return function(options, report)
    local prefix = prepare()
    local servers = {start_nginx(prefix), start_weir(prefix)}
    local seconds = math.max(1, math.ceil(options.seconds))
    for _, server in ipairs(servers) do -- warm up
        server.url = server.url:gsub("^http:", "https:")
        wrk.run(server, {connections = 64, seconds = 1}, 0)
    end
    for _ = 1, options.rounds do
        for _, case in ipairs(handshakes) do
            for _, server in ipairs(servers) do
                shake(report, server, case, seconds)
            end
        end
        for _, load in ipairs(loads) do
            for _, server in ipairs(servers) do
                local result = wrk.run(server, {connections = load.connections, path = load.path, seconds = seconds},
                    options.patience)
                wrk.record(report, load.name, server.name, result)
            end
        end
    end
    report:say("Servers on CPU 0, clients on CPU 1. Median of the rounds [least-greatest]. A connection of s_time asks once.")
    show(report, handshakes, servers, "connection")
    show(report, loads, servers, "request")
end
