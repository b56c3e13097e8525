-- What one hop from stage to stage costs: rings of stages that forward tokens, written on the fly, beside the bare limit.
local http = require "socket.http"
local socket = require "socket"
local place = require "place"
local processes = require "processes"

-- `tokens` circle at once: 1 shows a turn's own cost, 64 a loaded worker. Hops are chosen for about 0.2 s.
local cases = {
    {name = "integer, ring of 1", stages = 1, kind = "integer", tokens = 64},
    {name = "integer, ring of 10", stages = 10, kind = "integer", tokens = 64},
    {name = "integer, ring of 100", stages = 100, kind = "integer", tokens = 64},
    {name = "table, ring of 1", stages = 1, kind = "table", tokens = 64},
    {name = "table, ring of 10", stages = 10, kind = "table", tokens = 64},
    {name = "table, ring of 100", stages = 100, kind = "table", tokens = 64},
    {name = "request, ring of 10", stages = 10, kind = "request", tokens = 1},
    {name = "request, ring of 100", stages = 100, kind = "request", tokens = 1},
    {name = "integer, ring of 10, one token", stages = 10, kind = "integer", tokens = 1},
    {name = "table, ring of 10, one token", stages = 10, kind = "table", tokens = 1},
    {name = "integer, two pools in turn", stages = 2, pools = 2, kind = "integer", tokens = 256},
    {name = "table, two pools in turn", stages = 2, pools = 2, kind = "table", tokens = 256},
    {name = "integer, two pools, one token", stages = 2, pools = 2, kind = "integer", tokens = 1, slow = true},
}

local function configuration(case)
    local lines = {"weir: 1", "name: bench-hop", "pools:", "  main: {threads: 1}"}
    if case.pools then
        lines[#lines + 1] = "  other: {threads: 1}"
    end
    lines[#lines + 1] = "stages:"
    lines[#lines + 1] = '  web: {source: http, listen: "127.0.0.1:${PORT}", deadline: 60s, to: s0}'
    for i = 0, case.stages - 1 do
        lines[#lines + 1] = ("  s%d: {handler: %s, pool: %s, queue: {capacity: 4096}, to: {next: s%d}}"):format(i,
            i == 0 and "first.lua" or case.kind .. ".lua", case.pools and i % 2 == 1 and "other" or "main",
            (i + 1) % case.stages)
    end
    return table.concat(lines, "\n") .. "\n"
end

local function make_app(case, number)
    local rings = place.bench .. "/apps/hop/"
    local files = {["weir.yaml"] = configuration(case)}
    for _, file in ipairs {"first.lua", "integer.lua", "table.lua", "request.lua"} do
        files[file] = assert(place.read(rings .. file))
    end
    return place.make_app("hop" .. number, files)
end

local function get(server, path)
    local body, status = http.request(server.url .. path)
    if status ~= 200 then
        error(("%s: %s %s; its log: %s"):format(path, status, body or "", server.log), 0)
    end
    return body
end

-- Sends the tokens off and waits until they are home; ns per hop, of wall time and of CPU.
local function measure(server, case, laps)
    local cpu_before = processes.cpu_ns(server)
    local answer = get(server, ("/go/%s/%d/%d"):format(case.kind, case.tokens, laps))
    local deadline = socket.gettime() + 60
    while answer == "running" do
        assert(socket.gettime() < deadline, "the tokens did not come home; the log: " .. server.log)
        socket.sleep(0.1)
        answer = get(server, "/result")
    end
    local count = laps * case.stages * case.tokens
    return tonumber(answer) * 1e9 / count, (processes.cpu_ns(server) - cpu_before) / count
end

-- CPU 0 for one pool; both for two.
local function start(case, number)
    return processes.start_weir("hop", make_app(case, number), {cpu = case.pools and "0,1" or "0"})
end

local function hops(case, seconds)
    local per_second = case.slow and 5e4 or 2e6
    return math.max(1, math.ceil(per_second * seconds / 10 / case.stages / case.tokens))
end

local function record_bare(report, rounds)
    local bare = place.compile("bare_hop", "lua5.4")
    for _ = 1, rounds do
        for kind, ns in place.capture("taskset -c 0 " .. bare):gmatch("(%l+) ([%d.]+)") do
            report:add(kind, "bare", "ns", tonumber(ns))
        end
    end
end

return function(options, report)
    record_bare(report, options.rounds)
    for number, case in ipairs(cases) do
        local server = start(case, number)
        measure(server, case, 1) -- warm up
        for _ = 1, options.rounds do
            local ns, cpu_ns = measure(server, case, hops(case, options.seconds))
            report:add(case.name, "weir", "ns", ns)
            report:add(case.name, "weir", "cpu_ns", cpu_ns)
        end
        processes.stop(server)
    end
    report:say("Lua to Lua, ns per hop. Bare: encode, resume a coroutine that stands ready, decode; nothing else.")
    local rows = {{"", "wall", "of bare", "CPU of all threads"}}
    for _, kind in ipairs {"integer", "table"} do
        rows[#rows + 1] = {"bare " .. kind, report:cell(kind, "bare", "ns", "%.0f"), "1.00", ""}
    end
    for _, case in ipairs(cases) do
        local mine, limit = report:sum_up(case.name, "weir", "ns"), report:sum_up(case.kind, "bare", "ns")
        rows[#rows + 1] = {case.name, report:cell(case.name, "weir", "ns", "%.0f"),
            limit and ("%.2f"):format(mine / limit) or "-", report:cell(case.name, "weir", "cpu_ns", "%.0f")}
    end
    report:print_table(rows)
end
