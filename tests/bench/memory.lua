-- What an idle connection, a VM and a waiting event take of weir's memory: the process's own, without the kernel's.
local http = require "socket.http"
local cjson = require "cjson"
local socket = require "socket"
local place = require "place"
local processes = require "processes"

local CONNECTIONS <const> = 10000
local EVENTS <const> = 100000
local VMS <const> = 200

local function settle(server)
    socket.sleep(0.3)
    return processes.memory(server, "Pss")
end

-- Starts idle_clients on CPU 1 and waits until all are connected; `release` closes them.
local function connect_idle(server, count)
    local fifo = place.out .. "/idle.fifo"
    place.shell("rm -f build/bench/idle.fifo && mkfifo build/bench/idle.fifo")
    local pipe = assert(io.popen(("taskset -c 1 %s %d %d <%s"):format(place.compile("idle_clients"),
        server.port, count, place.quote(fifo))))
    local hold = assert(io.open(fifo, "w"))
    if pipe:read("l") ~= "open " .. count then
        error("the idle clients did not all connect", 0)
    end
    return function()
        hold:close()
        pipe:close()
    end
end

local function per_connection(report)
    local server = processes.start_weir("idle", place.bench .. "/apps/hello", {cpu = 0})
    connect_idle(server, 10)()
    local before = settle(server)
    local release = connect_idle(server, CONNECTIONS)
    report:add("an idle connection, after one request", "weir", "bytes", (settle(server) - before) / CONNECTIONS)
    release()
    processes.stop(server)
end

local function stages_app(count)
    local lines = {"weir: 1", "name: bench-vms", "pools: {main: {threads: 1}}", "stages:",
        '  web: {source: http, listen: "127.0.0.1:${PORT}", to: s1}'}
    for i = 1, count do
        lines[#lines + 1] = ("  s%d: {handler: hello.lua%s}"):format(i, i < count and (", to: {next: s%d}"):format(i + 1) or "")
    end
    return place.make_app("vms" .. count, {
        ["weir.yaml"] = table.concat(lines, "\n") .. "\n",
        ["hello.lua"] = assert(place.read(place.bench .. "/apps/hello/hello.lua")),
    })
end

local function per_vm(report)
    local sizes = {}
    for _, count in ipairs {1, 1 + VMS} do
        local server = processes.start_weir("vms", stages_app(count), {cpu = 0})
        sizes[#sizes + 1] = settle(server)
        if count == 1 then
            assert(http.request(server.url .. "/x")) -- a VM's size shows once it has run
            local command = ("%s stats --json --admin %s"):format(place.weir, place.quote(server.admin))
            local stats = cjson.decode(place.capture(command))
            report:add("a VM, by its own allocator", "weir", "bytes", stats.stages.s1.vm_bytes)
        end
        processes.stop(server)
    end
    report:add("a stage with its VM and queue, one worker", "weir", "bytes", (sizes[2] - sizes[1]) / VMS)
end

-- A stage that sleeps in a pool of its own keeps its queue full while its memory is read.
local function per_event(report)
    for _, kind in ipairs {"integer", "table"} do
        local server = processes.start_weir("queued", place.bench .. "/apps/queued", {cpu = 0})
        assert(http.request(server.url .. "/1/" .. kind))
        local before = settle(server)
        local body, status = http.request(("%s/%d/%s"):format(server.url, EVENTS, kind))
        if status ~= 200 or body ~= ("%d accepted\n"):format(EVENTS) then
            error(("the queue did not take the events: %s %s"):format(status, body), 0)
        end
        report:add(("a queued event, %s"):format(kind), "weir", "bytes", (settle(server) - before) / EVENTS)
        os.execute("kill -KILL " .. server.pid) -- its handler sleeps
        processes.stop(server)
    end
end

local cases = {"an idle connection, after one request", "a VM, by its own allocator",
    "a stage with its VM and queue, one worker", "a queued event, integer", "a queued event, table"}

return function(options, report)
    for _ = 1, options.rounds do
        per_connection(report)
        per_vm(report)
        per_event(report)
    end
    report:say("PSS of the process: difference between many and few, divided.")
    local rows = {{"", "bytes"}}
    for _, case in ipairs(cases) do
        rows[#rows + 1] = {case, report:cell(case, "weir", "bytes", "%.0f")}
    end
    report:print_table(rows)
end
