-- What handlers that run away cost the others and when they end; what memory bombs take; how long many sleepers take.
local cjson = require "cjson"
local socket = require "socket"
socket.unix = require "socket.unix"
local place = require "place"
local processes = require "processes"

local SLEEPERS <const> = 10000
local EVERY <const> = 0.002 -- seconds between two requests of those who only want an answer
local PROBES <const> = 100 -- their connections
local LIMITS <const> = {slice = 0.010, stall = 0.050, cpu = 0.200}

local page = [[
local weir = require "weir"
local function spin() while true do end end
local text, hostile = ("a"):rep(2000), ("a*"):rep(30) .. "b"
local bad = {}
bad.loop = spin
bad.pcall = function() while true do pcall(spin) end end
bad.coroutine = function() coroutine.wrap(spin)() end
bad.close = function() local x <close> = setmetatable({}, {__close = spin}) end
bad.require = function() require "forever" end
bad.loaded = function() load("while true do end")() end
bad.xpcall = function() xpcall(error, spin, "x") end
bad.sort = function() table.sort({3, 1, 2, 5, 4}, spin) end
bad.gsub = function() return ("x"):gsub(".", spin) end
bad.tostring = function() tostring(setmetatable({}, {__tostring = spin})) end
bad.find = function() while true do pcall(string.find, text, hostile) end end
bad.rep = function() while true do local s = ("x"):rep(20 << 20) end end
return function(req)
    local run = bad[req.path:sub(2)]
    if run then run() end
    req:reply(200, "ok")
end
]]

-- Where it can yield; where it can't; in C functions, of which some give up by themselves.
local kinds = {
    {name = "loop"}, {name = "pcall"}, {name = "coroutine"}, {name = "close"}, {name = "require"}, {name = "loaded"},
    {name = "xpcall", stalls = true}, {name = "sort", stalls = true}, {name = "gsub", stalls = true},
    {name = "tostring", stalls = true}, {name = "find", c = true}, {name = "rep", c = true},
}

local yaml = [[
weir: 1
name: bench-limits
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:${PORT}", to: page}
  page: {handler: page.lua, concurrency: 20000, queue: {capacity: 20000},
         limits: {slice: 10ms, stall: 50ms, cpu: 200ms, wall: 30s, memory: %s}}
]]

local function app(name, memory, text)
    return place.make_app(name, {
        ["weir.yaml"] = yaml:format(memory), ["page.lua"] = text, ["forever.lua"] = "while true do end\n",
    })
end

-- ---- runaways ----

local function connect(port)
    local sock = assert(socket.connect("127.0.0.1", port))
    sock:setoption("tcp-nodelay", true)
    return sock
end

local function send(sock, path)
    assert(sock:send(("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"):format(path)))
end

local function take_answer(sock)
    local line = assert(sock:receive("*l"))
    local length = 0
    repeat
        local header = assert(sock:receive("*l"))
        length = tonumber(header:lower():match("^content%-length:%s*(%d+)")) or length
    until header == ""
    if length > 0 then
        assert(sock:receive(length))
    end
    return tonumber(line:match("^HTTP/1%.1 (%d+)"))
end

local function percentile(list, share)
    table.sort(list)
    return list[math.max(1, math.ceil(#list * share))]
end

-- Requests at fixed times, `EVERY` apart, each on a connection that has nothing to do, while another connection runs away
-- again and again for `seconds`. A latency counts from the time when the request was due.
-- -> latencies, how long each runaway took, its statuses
local function run(server, path, seconds)
    local bad, bad_since = connect(server.port), nil
    local idle, due_of, waiting = {}, {}, {}
    local latencies, ends, statuses = {}, {}, {}
    for i = 1, PROBES do
        idle[i] = connect(server.port)
    end
    local function ask(due)
        local sock = table.remove(idle)
        send(sock, "/")
        due_of[sock] = due
        waiting[#waiting + 1] = sock
    end
    local function take(sock, at)
        if sock == bad then
            statuses[#statuses + 1] = take_answer(bad)
            ends[#ends + 1] = socket.gettime() - bad_since
            bad_since = nil
        else
            assert(take_answer(sock) == 200)
            latencies[#latencies + 1] = socket.gettime() - due_of[sock]
            idle[#idle + 1] = sock
        end
        table.remove(waiting, at)
    end
    local began = socket.gettime()
    local due, over = began, false
    while not over or #waiting > 0 do
        local now = socket.gettime()
        over = now - began >= seconds
        if path and not bad_since and not over then
            send(bad, path)
            bad_since = socket.gettime()
            waiting[#waiting + 1] = bad
        end
        while due <= now and not over and #idle > 0 do
            ask(due)
            due = due + EVERY
        end
        local readable = socket.select(waiting, nil, over and 1 or math.max(0, due - socket.gettime()))
        for at = #waiting, 1, -1 do
            if readable[waiting[at]] then
                take(waiting[at], at)
            end
        end
    end
    for _, sock in ipairs(idle) do
        sock:close()
    end
    bad:close()
    return latencies, ends, statuses
end

local function measure_runaways(options, report)
    local folder = app("limits", "64MiB", page)
    for _ = 1, options.rounds do
        local server = processes.start_weir("limits", folder, {cpu = 0})
        local alone = run(server, nil, options.seconds)
        report:add("nothing", "weir", "p99_ms", percentile(alone, 0.99) * 1e3)
        for _, kind in ipairs(kinds) do
            local latencies, ends, statuses = run(server, "/" .. kind.name, options.seconds)
            for _, status in ipairs(statuses) do
                if status ~= 500 then
                    report:say(("%s was answered %d"):format(kind.name, status))
                end
            end
            local limit = kind.stalls and LIMITS.stall or LIMITS.cpu
            report:add(kind.name, "weir", "p50_ms", percentile(latencies, 0.5) * 1e3)
            report:add(kind.name, "weir", "p99_ms", percentile(latencies, 0.99) * 1e3)
            report:add(kind.name, "weir", "max_ms", latencies[#latencies] * 1e3)
            report:add(kind.name, "weir", "late_p50_ms", (percentile(ends, 0.5) - limit) * 1e3)
            report:add(kind.name, "weir", "late_max_ms", (ends[#ends] - limit) * 1e3)
            report:add(kind.name, "weir", "ends", #ends)
        end
        processes.stop(server)
    end
end

local function print_runaways(report)
    report:say("")
    report:say(("One worker; slice 10 ms, stall 50 ms, cpu 200 ms. A request each %g ms to the same stage, latency from"
        .. " when it was due; how long after its limit the one that runs away was ended."):format(EVERY * 1e3))
    local rows = {{"meanwhile", "bound ms", "p50 ms", "p99 ms", "longest ms", "ended late ms", "latest ms"}}
    rows[#rows + 1] = {"nothing", "", "", report:cell("nothing", "weir", "p99_ms", "%.1f")}
    for _, kind in ipairs(kinds) do
        local function cell(metric)
            return report:cell(kind.name, "weir", metric, "%.1f")
        end
        local bound = (kind.stalls or kind.c) and LIMITS.stall + LIMITS.slice or 3 * LIMITS.slice
        rows[#rows + 1] = {kind.name, ("%.0f"):format(bound * 1e3), cell("p50_ms"), cell("p99_ms"), cell("max_ms"),
            cell("late_p50_ms"), cell("late_max_ms")}
    end
    report:print_table(rows)
end

-- ---- memory ----

local bombs = [[
local M = {}
M.tables = function() local t = {} while true do t[#t + 1] = {} end end
M.growth = function() local t = {} while true do t[#t + 1] = 1 end end
M.strings = function() local s = "x" while true do s = s .. s end end
M.coroutines = function() local t = {} while true do t[#t + 1] = coroutine.create(function() end) end end
M.closures = function() local t = {} while true do t[#t + 1] = function() return t end end end
M.keys = function() local t = {} for i = 1, 1e9 do t["k" .. i] = i end end
M.caught = function() local t = {} while true do pcall(function() t[#t + 1] = ("x"):rep(1 << 20) .. #t end) end end
return function(req)
    local bomb = M[req.path:sub(2)]
    if bomb then bomb() end
    req:reply(200, "ok")
end
]]
local bomb_names <const> = {"tables", "growth", "strings", "coroutines", "closures", "keys", "caught"}

local function status_kib(server, name)
    return tonumber(place.read(("/proc/%d/status"):format(server.pid)):match(name .. ":%s*(%d+)"))
end

-- Bytes of the VMs of the stage, as the host says now.
local function vm_bytes(server)
    local sock = assert(socket.unix())
    assert(sock:connect(server.admin))
    assert(sock:send("GET /v1/stats HTTP/1.0\r\n\r\n"))
    local text = assert(sock:receive("*a"))
    sock:close()
    return cjson.decode(assert(text:match("\r\n\r\n(.*)$"))).stages.page.vm_bytes
end

-- One bomb in a new process: how much that grew by at most.
local function drop_bomb(folder, name, cap, report, case)
    local server = processes.start_weir("bomb", folder, {cpu = 0})
    local sock = connect(server.port)
    local function ask(path, expected)
        send(sock, path)
        local status = take_answer(sock)
        if status ~= expected then
            report:say(("%s was answered %d"):format(path, status))
        end
    end
    ask("/", 200)
    local before = status_kib(server, "VmRSS")
    ask("/" .. name, 500)
    local peak = status_kib(server, "VmHWM")
    ask("/", 200)
    report:add(case, name, "rss_share", (peak - before) * 1024 / cap)
    sock:close()
    processes.stop(server)
end

local caps <const> = {16, 64}

local function measure_bombs(options, report)
    for _ = 1, options.rounds do
        for _, cap in ipairs(caps) do
            local folder = app("bombs" .. cap, cap .. "MiB, cpu: 20s", bombs)
            local text = place.read(folder .. "/weir.yaml"):gsub("cpu: 200ms, ", "")
            place.write(folder .. "/weir.yaml", text)
            for _, name in ipairs(bomb_names) do
                drop_bomb(folder, name, cap << 20, report, cap .. " MiB")
            end
        end
    end
end

local function print_bombs(report)
    report:say("")
    report:say("Memory bombs, each in a new process: how much that grows by at most, in shares of limits.memory.")
    local rows = {{""}}
    for _, cap in ipairs(caps) do
        table.insert(rows[1], cap .. " MiB")
    end
    for _, name in ipairs(bomb_names) do
        local row = {name}
        for _, cap in ipairs(caps) do
            row[#row + 1] = report:cell(cap .. " MiB", name, "rss_share", "%.2f")
        end
        rows[#rows + 1] = row
    end
    report:print_table(rows)
end

-- ---- sleepers ----

local sleeper = [[
local weir = require "weir"
return function(req)
    weir.sleep(1)
    req:reply(200, "ok")
end
]]

local function measure_sleepers(options, report)
    local program, folder = place.compile("sleepers"), app("sleepers", "128MiB", sleeper)
    for _ = 1, options.rounds do
        local server = processes.start_weir("sleepers", folder, {cpu = 0})
        local text = place.capture(("taskset -c 1 %s %d %d 2"):format(program, server.port, SLEEPERS))
        local case = "cold"
        for sent, first, median, last in text:gmatch("([%d.]+) ([%d.]+) ([%d.]+) ([%d.]+) %d+") do
            report:add("sleepers", case, "sent_ms", tonumber(sent))
            report:add("sleepers", case, "first_ms", tonumber(first))
            report:add("sleepers", case, "median_ms", tonumber(median))
            report:add("sleepers", case, "last_ms", tonumber(last))
            case = "warm"
        end
        report:add("sleepers", "cold", "vm_bytes", vm_bytes(server) / SLEEPERS)
        processes.stop(server)
    end
end

local function print_sleepers(report)
    report:say("")
    report:say(("%d requests at once, each sleeps 1 s, one worker; cold: the first of a process."):format(SLEEPERS))
    local rows = {{"", "all sent ms", "first answer ms", "median ms", "last answer ms"}}
    for _, case in ipairs {"cold", "warm"} do
        local row = {case}
        for _, metric in ipairs {"sent_ms", "first_ms", "median_ms", "last_ms"} do
            row[#row + 1] = report:cell("sleepers", case, metric, "%.0f")
        end
        rows[#rows + 1] = row
    end
    report:print_table(rows)
    report:say(("the VM has %s bytes a call afterwards"):format(report:cell("sleepers", "cold", "vm_bytes", "%.0f")))
end

return function(options, report)
    measure_sleepers(options, report)
    measure_runaways(options, report)
    measure_bombs(options, report)
    print_runaways(report)
    print_bombs(report)
    print_sleepers(report)
end
