-- Many connections at once. usage: lua5.4 many_clients.lua PORT COUNT PATH
-- Opens COUNT connections and has a GET answered on each as it is opened; says so, and waits for a line. Then, with all of
-- them still open, sends a GET on each, reads all answers, says so, and holds the connections until its input ends.
-- What it says: a line for each status ('200 10000'), then 'done'.
local socket = require "socket"

local port, count, path = tonumber(arg[1]), tonumber(arg[2]), arg[3]
local request = ("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(path)
local open, statuses = {}, {}

local function read_answer(client)
    local line, why = client:receive("*l")
    local status, length = line and line:match("^HTTP/1%.1 (%d+)") or "none: " .. tostring(why), nil
    while line and line ~= "" do
        line = client:receive("*l")
        length = line and tonumber(line:lower():match("^content%-length: (%d+)$")) or length
    end
    if length and #(client:receive(length) or "") ~= length then
        status = "cut"
    end
    statuses[status] = (statuses[status] or 0) + 1
end

local function say()
    for status, n in pairs(statuses) do
        print(status .. " " .. n)
    end
    print "done"
    io.stdout:flush()
    statuses = {}
end

for i = 1, count do
    local client, why = socket.connect("127.0.0.1", port)
    if not client then
        error(("connection %d: %s"):format(i, why), 0)
    end
    client:settimeout(30)
    assert(client:send(request))
    read_answer(client)
    open[i] = client
end
say()
io.stdin:read("l")
for i = 1, count do
    assert(open[i]:send(request))
end
for i = 1, count do
    read_answer(open[i])
end
say()
io.stdin:read("a")
for i = 1, count do
    open[i]:close()
end
