-- Hello by script: weir, nginx with its Lua module, and a raw epoll loop with a fixed answer as the limit, in one run.
local place = require "place"
local processes = require "processes"
local wrk = require "wrk"

local SERVER_CPU <const> = 0

local loads = {
    {name = "1 connection", connections = 1},
    {name = "64 connections", connections = 64},
    {name = "512 connections", connections = 512},
    {name = "64, one request each", connections = 64, close = true},
}

local function start_epoll()
    local port = processes.free_port()
    return processes.start("epoll", ("%s %d"):format(place.compile("epoll_hello"), port), port, SERVER_CPU)
end

local function start_nginx()
    local port = processes.free_port()
    local prefix = place.out .. "/nginx"
    place.shell("mkdir -p " .. place.quote(prefix))
    local template = assert(place.read(place.bench .. "/nginx.conf.in"))
    place.write(prefix .. "/nginx.conf", (template:gsub("@(%u+)@", {PORT = tostring(port), PREFIX = prefix})))
    return processes.start("nginx", ("nginx -p %s -c nginx.conf"):format(place.quote(prefix)), port, SERVER_CPU)
end

local function start_weir()
    return processes.start_weir("weir", place.bench .. "/apps/hello", {cpu = SERVER_CPU})
end

local function show(report, servers)
    for _, load in ipairs(loads) do
        report:say("")
        report:say(load.name)
        local rows = {{"", "CPU µs/request", "of epoll", "of nginx", "req/s", "p50 µs", "p99 µs", "PSS KiB", "client busy",
            "others"}}
        for _, server in ipairs(servers) do
            local function cell(metric, format, scale)
                return report:cell(load.name, server.name, metric, format, scale)
            end
            rows[#rows + 1] = {server.name, cell("cpu_us", "%.2f"), report:ratio(load.name, "cpu_us", server.name, "epoll"),
                report:ratio(load.name, "cpu_us", server.name, "nginx"), cell("rate", "%.0f"), cell("p50_us", "%.0f"),
                cell("p99_us", "%.0f"), cell("pss", "%.0f", 1 / 1024), cell("client_busy", "%.2f"), cell("others", "%.2f")}
        end
        report:print_table(rows)
    end
end

return function(options, report)
    local servers = {start_epoll(), start_nginx(), start_weir()}
    for _, server in ipairs(servers) do -- warm up
        wrk.run(server, {connections = 64, seconds = 1}, 0)
    end
    for _ = 1, options.rounds do
        for _, load in ipairs(loads) do
            for _, server in ipairs(servers) do
                local result = wrk.run(server, {connections = load.connections, close = load.close,
                    seconds = options.seconds}, options.patience)
                wrk.record(report, load.name, server.name, result)
            end
        end
    end
    report:say("Servers on CPU 0, wrk on CPU 1. Median of the rounds [least-greatest].")
    show(report, servers)
end
