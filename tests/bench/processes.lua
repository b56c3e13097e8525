-- Servers under measurement: started on a CPU of their own, asked for CPU time and memory through /proc, stopped by their id.
local socket = require "socket"
local place = require "place"

local M = {}

local running = {}

function M.free_port()
    local probe = assert(socket.bind("127.0.0.1", 0))
    local _, port = probe:getsockname()
    probe:close()
    return tonumber(port)
end

-- Started by another user than root, nothing can be made nicer.
local function niceness()
    return os.execute("nice -n -10 true 2>/dev/null") and "nice -n -10 " or ""
end

local function accepts(port)
    local client = socket.connect("127.0.0.1", port)
    if client then
        client:close()
    end
    return client ~= nil
end

local function is_alive(pid)
    local stat = place.read(("/proc/%d/stat"):format(pid))
    return stat ~= nil and not stat:find("^%d+ %b() Z")
end

-- Starts `command` on CPU `cpu` (nil: any) with all descriptors that it may have, and waits until `port` accepts.
-- Its output goes to a log.
function M.start(name, command, port, cpu)
    local log = ("%s/%s.log"):format(place.out, name)
    local pin = cpu and ("taskset -c %s "):format(cpu) or ""
    local pid = tonumber(place.capture(("ulimit -Sn $(ulimit -Hn); %s%s%s >%s 2>&1 </dev/null & echo $!")
        :format(niceness(), pin, command, place.quote(log))))
    running[pid] = true
    local deadline = socket.gettime() + 10
    while not accepts(port) do
        if not is_alive(pid) or socket.gettime() > deadline then
            error(("%s does not accept on port %d; its log:\n%s"):format(name, port, place.read(log) or ""), 0)
        end
        socket.sleep(0.02)
    end
    return {name = name, pid = pid, port = port, log = log, url = ("http://127.0.0.1:%d"):format(port)}
end

function M.start_weir(name, app, options)
    options = options or {}
    local port = M.free_port()
    local admin = ("%s/%s.sock"):format(place.out, name)
    os.remove(admin)
    local command = ("env PORT=%d %s run %s --admin %s %s"):format(port, place.weir, place.quote(app), place.quote(admin),
        options.arguments or "")
    local server = M.start(name, command, port, options.cpu)
    server.admin = admin
    return server
end

function M.stop(server)
    os.execute(("kill -TERM %d 2>/dev/null"):format(server.pid))
    local deadline = socket.gettime() + 10
    while is_alive(server.pid) do
        if socket.gettime() > deadline then
            os.execute(("kill -KILL %d 2>/dev/null"):format(server.pid))
            deadline = math.huge
        end
        socket.sleep(0.02)
    end
    running[server.pid] = nil
end

function M.stop_all()
    for pid in pairs(running) do
        M.stop {pid = pid}
    end
end

-- CPU time of each thread so far: a list of {id, name, ns}.
function M.threads(server)
    local list = {}
    for id in place.capture(("ls /proc/%d/task"):format(server.pid)):gmatch("%d+") do
        local folder = ("/proc/%d/task/%s/"):format(server.pid, id)
        local ns = (place.read(folder .. "schedstat") or ""):match("^%d+")
        if ns then
            list[#list + 1] = {id = tonumber(id), name = (place.read(folder .. "comm") or ""):gsub("\n", ""), ns = tonumber(ns)}
        end
    end
    return list
end

function M.cpu_ns(server)
    local sum = 0
    for _, thread in ipairs(M.threads(server)) do
        sum = sum + thread.ns
    end
    return sum
end

-- Bytes of memory: "Pss" (shared pages divided among their users), "Rss", "Private_Dirty" …
function M.memory(server, what)
    local text = assert(place.read(("/proc/%d/smaps_rollup"):format(server.pid)), "no smaps_rollup")
    return tonumber(text:match("\n" .. what .. ":%s*(%d+) kB")) * 1024
end

-- Seconds of CPU that all programs together have used since the machine started.
function M.busy_seconds()
    local user, nice, system, _, _, irq, softirq =
        place.read("/proc/stat"):match("^cpu +(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)")
    return (user + nice + system + irq + softirq) / 100
end

return M
