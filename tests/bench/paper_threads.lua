-- Figure 2: a thread for each task; figure 4: events in one queue. A task reads 8 KiB of a file that is in the system's cache.
local cjson = require "cjson"
local socket = require "socket"
local place = require "place"
local processes = require "processes"

local THREADS <const> = {1, 4, 16, 64, 256, 1024, 4096}
local EVENTS <const> = {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576}

local function make_file()
    local path = place.out .. "/eight-kib"
    place.write(path, ("x"):rep(8192))
    return path
end

-- Points {x, metric}, scaled, of those x that were measured.
local function points(report, case, xs, metric, factor)
    local list = {}
    for _, x in ipairs(xs) do
        local value = report:sum_up(case, tostring(x), metric)
        if value then
            list[#list + 1] = {x, value * (factor or 1)}
        end
    end
    return list
end

local function show(report, case, xs, head)
    local rows = {{head, "tasks/s", "mean ms", "greatest ms"}}
    for _, x in ipairs(xs) do
        rows[#rows + 1] = {tostring(x), report:cell(case, tostring(x), "rate", "%.0f"), report:cell(case, tostring(x), "mean_ms", "%.4g"),
            report:cell(case, tostring(x), "max_ms", "%.4g")}
    end
    report:print_table(rows)
end

local function fig2(options, report, draw)
    local file = make_file()
    for _ = 1, options.rounds do
        for _, cpus in ipairs {"0", "0,1"} do
            for _, n in ipairs(THREADS) do
                local r = cjson.decode(place.capture(("taskset -c %s %s %s %g %d"):format(cpus, place.compile("threaded_reads"), place.quote(file),
                    options.seconds / 2, n)))
                for _, metric in ipairs {"rate", "mean_ms", "max_ms"} do
                    report:add("fig2 on CPU " .. cpus, tostring(n), metric, r[metric])
                end
            end
        end
    end
    report:say "Figure 2: a thread for each task that reads 8 KiB, on one CPU and on two."
    show(report, "fig2 on CPU 0", THREADS, "threads")
    show(report, "fig2 on CPU 0,1", THREADS, "threads, 2 CPUs")
    draw("fig2", {title = "Figure 2: a thread for each task of reading 8 KiB", x = {label = "threads", log = 2}, y = {label = "tasks/s"},
        y2 = {label = "greatest latency, ms", log = true}, series = {
            {name = "tasks/s, 1 CPU", points = points(report, "fig2 on CPU 0", THREADS, "rate")},
            {name = "tasks/s, 2 CPUs", points = points(report, "fig2 on CPU 0,1", THREADS, "rate")},
            {name = "greatest latency, 1 CPU", second = true, points = points(report, "fig2 on CPU 0", THREADS, "max_ms")}}})
end

-- The tasks go round: each is an event that reads and emits the next one to its own queue.
local yaml <const> = [[
weir: 1
name: reads
pools: {main: {threads: 1}, disk: {threads: 1, blocking: true}}
stages:
  up: {source: http, listen: "127.0.0.1:${PORT}", to: none}
  none: {sink: "null"}
  seed: {source: generator, count: %d, value: 1, to: {out: {stage: task, overflow: wait}}}
  task:
    handler: task.lua
    pool: disk
    libs: all
    queue: {capacity: 2097152, bytes: 4GiB}
    to: {again: {stage: task, overflow: reject}}
]]
local task <const> = [[
local weir = require "weir"
local file = assert(io.open("%s", "rb"))
file:setvbuf "no"
return function(event)
    file:seek("set", 0)
    assert(#file:read(8192) == 8192)
    weir.emit("again", event)
end
]]

local function stage_of(server)
    local text = place.capture(("%s stats --json --admin %s"):format(place.weir, place.quote(server.admin)))
    return cjson.decode(text).stages.task
end

local function count_events(options, report, file, n)
    local folder = place.make_app("reads", {["weir.yaml"] = yaml:format(n), ["task.lua"] = task:format(file)})
    local server = processes.start_weir("reads", folder, {cpu = 0})
    repeat
        socket.sleep(0.02)
    until stage_of(server).ledger.offered >= n
    local rate
    repeat -- until those that came in while it was filled are through: one turn of the queue
        local before, began = stage_of(server).ledger.handled, socket.gettime()
        socket.sleep(math.max(1.2, options.seconds / 2))
        rate = (stage_of(server).ledger.handled - before) / (socket.gettime() - began)
    until stage_of(server).ledger.handled >= 3 * n or options.patience == 0
    local recent = stage_of(server).recent
    report:add("fig4", tostring(n), "rate", rate)
    report:add("fig4", tostring(n), "mean_ms", recent.wait_us.p50 / 1e3)
    report:add("fig4", tostring(n), "max_ms", recent.wait_us.p99 / 1e3)
    processes.stop(server)
end

local function fig4(options, report, draw)
    local file = make_file()
    for _ = 1, options.rounds do
        for _, n in ipairs(EVENTS) do
            if options.patience > 0 or n <= 65536 then
                count_events(options, report, file, n)
            end
        end
    end
    report:say "Figure 4: the same as events of one stage with one thread; the median wait and the 99th percentile in the place of mean and greatest."
    show(report, "fig4", EVENTS, "events")
    draw("fig4", {title = "Figure 4: events in one stage's queue that each read 8 KiB", x = {label = "events under way", log = 2},
        y = {label = "tasks/s"}, y2 = {label = "median latency, ms", log = true}, series = {
            {name = "tasks/s", points = points(report, "fig4", EVENTS, "rate")},
            {name = "latency", second = true, points = points(report, "fig4", EVENTS, "mean_ms")}}})
end

return {{name = "fig2", run = fig2}, {name = "fig4", run = fig4}}
