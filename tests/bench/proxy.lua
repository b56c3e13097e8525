-- A proxied answer of 1 KiB: weir.http in one stage, and nginx's proxy_pass, in one run. The origin is an nginx of
-- luacheck: no max line length
-- its own, on the client's CPU.
local place = require "place"
local processes = require "processes"
local wrk = require "wrk"

local SERVER_CPU <const>, CLIENT_CPU <const> = 0, 1

local loads = {
    {name = "1 connection", connections = 1},
    {name = "64 connections", connections = 64},
    {name = "512 connections", connections = 512},
}

-- Started on `cpu`: a proxy to `upstream` on its port, 1 KiB of its own on another one.
local function start_nginx(name, cpu, upstream)
    local port, own = processes.free_port(), processes.free_port()
    local prefix = place.out .. "/" .. name
    place.shell("mkdir -p " .. place.quote(prefix))
    local template = assert(place.read(place.bench .. "/nginx-proxy.conf.in"))
    place.write(prefix .. "/nginx.conf", (template:gsub("@(%u+)@", {PORT = tostring(port), OWN = tostring(own),
        UPSTREAM = tostring(upstream or own), PREFIX = prefix})))
    local server = processes.start(name, ("nginx -p %s -c nginx.conf"):format(place.quote(prefix)), port, cpu)
    server.own = own
    return server
end

local function start_weir(upstream)
    local port = processes.free_port()
    local command = ("env PORT=%d UPSTREAM=%d %s run %s --admin none"):format(port, upstream, place.weir,
        place.quote(place.bench .. "/apps/proxy"))
    return processes.start("weir", command, port, SERVER_CPU)
end

local function show(report, servers)
    for _, load in ipairs(loads) do
        report:say("")
        report:say(load.name)
        local rows = {{"", "CPU µs/request", "of nginx", "req/s", "p50 µs", "p99 µs", "others"}}
        for _, server in ipairs(servers) do
            local function cell(metric, format, scale)
                return report:cell(load.name, server.name, metric, format, scale)
            end
            rows[#rows + 1] = {server.name, cell("cpu_us", "%.2f"), report:ratio(load.name, "cpu_us", server.name, "nginx"),
                cell("rate", "%.0f"), cell("p50_us", "%.0f"), cell("p99_us", "%.0f"), cell("others", "%.2f")}
        end
        report:print_table(rows)
    end
end

return function(options, report)
    local origin = start_nginx("origin", CLIENT_CPU)
    local servers = {start_nginx("nginx", SERVER_CPU, origin.own), start_weir(origin.own)}
    for _, server in ipairs(servers) do -- warm up
        wrk.run(server, {connections = 64, seconds = 1}, 0)
    end
    for _ = 1, options.rounds do
        for _, load in ipairs(loads) do
            for _, server in ipairs(servers) do
                -- the origin's CPU time is of the others: patience would never end
                local result = wrk.run(server, {connections = load.connections, seconds = options.seconds}, 0)
                wrk.record(report, load.name, server.name, result)
            end
        end
    end
    report:say("Proxies on CPU 0; wrk and the origin (an nginx that answers 1 KiB) on CPU 1. Median of the rounds [least-greatest].")
    show(report, servers)
end
