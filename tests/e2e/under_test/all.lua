local weir = require "weir"
local M = {}
local ticks = 0
function M.init()
    weir.timer(10, function() ticks = ticks + 1; weir.emit("tick", {n = ticks, at = weir.now()}) end, {every = true})
end
local acts = {}
function acts.fail() error("boom") end
function acts.sleep(e) weir.sleep(e.s); weir.emit("out", {slept = e.s}) end
function acts.loop() while true do end end
function acts.bomb()
    local t = {}
    while true do
        t[#t + 1] = ("x"):rep(1000000) .. #t
    end
end
function acts.emit(e) local ok, why = weir.emit("out", e, {key = e.key}); weir.emit("log", {ok = ok or false, why = why}) end
function acts.http(e)
    local res, msg, code = weir.http.request {url = e.url, timeout = e.timeout, body = e.body}
    weir.emit("out", res and {status = res.status, body = res.body, type = res.headers["content-type"]}
        or {msg = msg, code = code})
end
function acts.stream()
    local res = weir.http.request {url = "http://s/", stream = true}
    local parts = {}
    for chunk in function() return res:read() end do parts[#parts + 1] = chunk end
    weir.emit("out", parts)
end
function acts.fs(e)
    local text, msg, code = weir.fs.read(e.path)
    weir.fs.write("new.txt", "hi")
    weir.emit("out", {text = text, code = code, msg = msg, list = weir.fs.list("."), size = weir.fs.stat("new.txt").size})
end
function acts.realfs()
    weir.emit("out", {weir.fs.read("all.lua"):sub(1, 12)})
end
function acts.dns(e) local a, _, c = weir.dns.resolve(e.name); weir.emit("out", {a = a, c = c}) end
function acts.tcp()
    local conn <close>, _, code = weir.tcp.connect("peer.example", 25)
    if not conn then weir.emit("out", {code = code}) return end
    local banner, _, c2 = conn:read("line", 2)
    if not banner then weir.emit("out", {code = c2}) return end
    conn:write("EHLO\n")
    weir.emit("out", {banner, conn:read("line"), (conn:read(3)), select(3, conn:read())})
end
function acts.call(e)
    local value, why = weir.call("db", {id = e.id}, 5)
    weir.emit("out", {value = value, why = why})
end
function acts.time() weir.emit("out", {now = weir.now(), wall = weir.time()}) end
function M.handle(e)
    if type(e) == "userdata" then
        if e.path == "/stream" then
            local s = e:start(200, {["x-a"] = "1"})
            s:write("one") s:write("two") s:close()
        elseif e.path == "/file" then e:reply {file = "small.txt"}
        elseif e.path == "/none" then return
        elseif e.path == "/slow" then weir.sleep(3); e:reply(200, "late")
        elseif e.path == "/pass" then weir.emit("out", {req = e, user = "u"})
        elseif e.path == "/read" then
            local n = 0
            for c in function() return e:read() end do n = n + #c end
            e:reply(200, tostring(n))
        else
            e:reply(200, {["content-type"] = "text/plain"},
                table.concat({e.method, e.path, e.query, e.body, e.remote, tostring(e.headers["X-Thing"])}, " "))
        end
        return
    end
    if e.req then e.req:reply(200, "user " .. e.user) return end
    acts[e.act](e)
end
return M
