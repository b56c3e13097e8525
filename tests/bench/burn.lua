-- A handler that takes so many milliseconds of CPU for each request: in weir, in nginx with its Lua module, in HAProxy with Lua, in Node. Each
-- counts out its loop when it starts. And the open loop that asks for it (open_loop.c). Servers have CPU 0, the client CPU 1.
local cjson = require "cjson"
local place = require "place"
local processes = require "processes"
local wrk = require "wrk"

local M = {}

-- The loop and its counting out, as Lua of any version; `clock` is an expression.
local function lua_burner(clock, ms)
    return ([[
local rounds
local function burn(n)
    local x = 0
    for i = 1, n do
        x = (x * 31 + i) %% 65521
    end
    return x
end
local function count_out()
    local best = math.huge
    for _ = 1, 20 do
        local began = CLOCK
        burn(100000)
        best = math.min(best, CLOCK - began)
    end
    rounds = math.floor(100000 / best * %g)
end
]]):format(ms / 1000):gsub("CLOCK", clock)
end

-- What is given in `options`: `admission` and `queue` as YAML, `classes` as a list.
function M.start(name, ms, options)
    options = options or {}
    local yaml = {"weir: 1", "name: " .. name, "pools: {main: {threads: 1}}", "stages:",
        ('  web: {source: http, listen: "127.0.0.1:${PORT}", to: page%s}'):format(options.source and ", " .. options.source or ""),
        ("  page: {handler: page.lua, queue: {%s}%s}"):format(options.queue or "order: adaptive",
            options.admission and ", admission: " .. options.admission or ""), ""}
    if options.classes then
        table.insert(yaml, 2, ("classes: [%s]"):format(table.concat(options.classes, ", ")))
    end
    local script = 'local weir = require "weir"\n' .. lua_burner("weir.now()", ms)
        .. 'return {init = count_out, handle = function(req) burn(rounds) req:reply(200, "done\\n") end}\n'
    local folder = place.make_app("burn-" .. name, {["weir.yaml"] = table.concat(yaml, "\n"), ["page.lua"] = script})
    return processes.start_weir("burn", folder, {cpu = 0})
end

local function indent(text, by)
    return (text:gsub("[^\n]+", by .. "%0"))
end

local function start_nginx(ms)
    local port, prefix = processes.free_port(), place.out .. "/nginx-burn"
    place.shell("mkdir -p " .. place.quote(prefix))
    local script = lua_burner("os.clock()", ms) .. 'count_out()\nreturn function() burn(rounds) ngx.print("done\\n") end\n'
    place.write(prefix .. "/burner.lua", script)
    local conf = assert(place.read(place.bench .. "/nginx.conf.in"))
        :gsub("content_by_lua_block (%b{})", 'content_by_lua_block {\n' .. indent('package.loaded.burner()\n', (" "):rep(16)) .. (" "):rep(12) .. "}")
        :gsub("default_type text/plain;", ('%%0\n    init_worker_by_lua_block { package.loaded.burner = dofile("%s/burner.lua") }'):format(prefix))
        :gsub(" backlog=%d+;", ";")
        :gsub("@(%u+)@", {PORT = tostring(port), PREFIX = prefix})
    place.write(prefix .. "/nginx.conf", conf)
    return processes.start("nginx-burn", ("nginx -p %s -c nginx.conf"):format(place.quote(prefix)), port, 0)
end

local function start_haproxy(ms)
    local port, folder = processes.free_port(), place.out .. "/haproxy-burn"
    place.shell("mkdir -p " .. place.quote(folder))
    place.write(folder .. "/burner.lua", lua_burner("os.clock()", ms) .. [[
core.register_init(count_out)
core.register_service("burn", "http", function(applet)
    burn(rounds)
    local body = "done\n"
    applet:set_status(200)
    applet:add_header("content-length", #body)
    applet:start_response()
    applet:send(body)
end)
]])
    place.write(folder .. "/haproxy.cfg", ([[
global
    nbthread 1
    maxconn 9000
    lua-load %s/burner.lua
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 10s
frontend web
    bind 127.0.0.1:%d
    http-request use-service lua.burn
]]):format(folder, port))
    return processes.start("haproxy-burn", ("/usr/sbin/haproxy -db -f %s/haproxy.cfg"):format(place.quote(folder)), port, 0)
end

local function start_node(ms)
    local port, folder = processes.free_port(), place.out .. "/node-burn"
    place.shell("mkdir -p " .. place.quote(folder))
    place.write(folder .. "/burner.js", ([[
const http = require("http");
function burn(n) {
    let x = 0;
    for (let i = 1; i <= n; i++)
        x = (x * 31 + i) %% 65521;
    return x;
}
let best = Infinity;
for (let i = 0; i < 200; i++) {
    const began = process.hrtime.bigint();
    burn(100000);
    best = Math.min(best, Number(process.hrtime.bigint() - began));
}
const rounds = Math.floor(100000 / best * %g * 1e6);
let sum = 0;
http.createServer((req, res) => {
    sum += burn(rounds);
    res.setHeader("content-length", 5);
    res.end("done\n");
}).listen(%d, "127.0.0.1");
]]):format(ms, port))
    return processes.start("node-burn", "node " .. place.quote(folder .. "/burner.js"), port, 0)
end

local function has(program)
    return function() return place.capture(("PATH=$PATH:/usr/sbin:/sbin command -v %s || true"):format(program)) ~= "" end
end

-- With the backlog that each has by default.
M.peers = {
    {name = "nginx + Lua", start = start_nginx, is_there = has("nginx")},
    {name = "HAProxy + Lua", start = start_haproxy, is_there = has("haproxy")},
    {name = "Node", start = start_node, is_there = has("node")},
}

-- `weir set` of a running weir.
function M.set(server, path, value)
    place.shell(("%s set %s %s --admin %s"):format(place.weir, path, value, server.admin))
end

-- Requests a second that it answers when never idle; two connections are no overload to anybody.
function M.capacity(server)
    local seconds <const> = 2
    return wrk.run(server, {connections = 2, seconds = seconds}, 0).requests / seconds
end

-- The open loop's figures: all, and a list by class. `rates` and `rest` as on its command line.
function M.load(server, seconds, rates, rest)
    local text = place.capture(("taskset -c 1 %s %d %g %s poisson %s"):format(place.compile("open_loop"), server.port, seconds, rates, rest or ""))
    local all, classes = nil, {}
    for line in text:gmatch("[^\n]+") do
        local one = cjson.decode(line)
        if one.class == "" then
            all = one
        else
            classes[one.class] = one
        end
    end
    return all, classes
end

return M
