-- The application of ledger_spec: a stage for each way in which an event may end, in pools that are too small for the load.
-- The first segment of a request's path names the stage it goes to.
local M = {}

M["weir.yaml"] = [[
weir: 1
name: ledger
drain: 20s
pools:
  main: {threads: 2}
  slow: {threads: 2, blocking: true}
  other: {threads: 2}
stages:
  web:
    source: http
    listen: "127.0.0.1:0"
    deadline: 10s
    access_log: access.log
    access_format: json
    to: route
  route:
    handler: route.lua
    queue: {capacity: 2000}
    to:
      reject: reject
      wait: {stage: wait, overflow: wait}
      newest: newest
      oldest: oldest
      overflow: overflow
      old: old
      late: {stage: late, overflow: wait}
      bytes: bytes
      copies: [copy_a, copy_b, nothing]
      batch: batch
      raise: raise
      silent: silent
      hungry: hungry
      order: {stage: order, overflow: wait}
  reject: {handler: work.lua, pool: slow, queue: {capacity: 2}}
  wait: {handler: work.lua, pool: slow, queue: {capacity: 2}}
  newest: {handler: work.lua, pool: slow, queue: {capacity: 2, overflow: drop_newest}}
  oldest: {handler: work.lua, pool: slow, queue: {capacity: 2, overflow: drop_oldest}}
  overflow: {handler: work.lua, pool: slow, queue: {capacity: 1, overflow: {route: spare}}}
  spare: {handler: work.lua, pool: other, queue: {capacity: 1}}
  old: {handler: work.lua, pool: slow, queue: {max_age: 2ms}}
  late: {handler: work.lua, pool: slow, queue: {capacity: 1}}
  bytes: {handler: work.lua, pool: slow, queue: {bytes: 16KiB}}
  copy_a: {handler: copy.lua, pool: other, queue: {capacity: 4}}
  copy_b: {handler: copy.lua, pool: main, queue: {capacity: 4, overflow: drop_newest}}
  nothing: {sink: "null", pool: other}
  batch: {handler: batch.lua, pool: other, batch: 8}
  raise: {handler: raise.lua, pool: other, limits: {stall: 5s, cpu: 20s}}
  silent: {handler: silent.lua}
  hungry: {handler: hungry.lua, pool: other, limits: {memory: 1MiB, stall: 5s, cpu: 20s}}
  order: {handler: order.lua, pool: other, queue: {capacity: 64, order_by: user}, to: {next: {stage: collect, overflow: wait}}}
  collect: {handler: collect.lua, pool: slow, queue: {capacity: 16, order_by: user}}
]]

M["route.lua"] = [[
local weir = require "weir"

local M = {}

local function refused(req, reason)
    req:reply(503, {["x-refused"] = reason, ["x-target"] = req.target}, "refused\n")
end

-- 20 events and the request itself: a stage that is in order sees them as numbered.
local function in_order(req)
    local user = req.id
    for i = 1, 20 do
        weir.emit("order", {user = user, number = i})
    end
    weir.emit("order", {user = user, number = 21, req = req})
end

function M.handle(req)
    local kind = req.path:match("^/(%l+)")
    local target = {["x-target"] = req.target}
    if kind == "order" then
        return in_order(req)
    elseif kind == "copies" then
        local ok, reason = weir.emit("copies", {text = ("x"):rep(100), path = req.path})
        target["x-verdict"] = ok and "true" or reason
        return req:reply(200, target, "copies\n")
    elseif kind == "plain" then
        return req:reply(200, target, "plain\n")
    elseif kind == "twice" then -- the second stage is asked when the first has no room
        return weir.emit("reject", req) or weir.emit("newest", req)
    end
    local ok, reason = weir.emit(kind, req, {deadline = kind == "late" and 0.002 or nil})
    if not ok and req.query:find("tell", 1, true) then
        refused(req, reason)
    end
end

return M
]]

M["work.lua"] = [[
local weir = require "weir"

return function(req)
    local from = weir.now()
    while weir.now() - from < 0.0003 do end
    req:reply(200, {["x-stage"] = weir.stage().stage, ["x-target"] = req.target}, "done\n")
end
]]

M["copy.lua"] = [[
return function(event)
    assert(#event.text == 100)
    if event.path:find("raise", 1, true) then
        error("on purpose")
    end
end
]]

M["batch.lua"] = [[
local M = {}

function M.handle_batch(requests)
    for i = 1, requests.n do
        requests[i]:reply(200, {["x-target"] = requests[i].target}, "batch\n")
    end
end

return M
]]

M["raise.lua"] = [[
local kinds = {
    function() error("on purpose") end,
    function() error({}) end,
    function() local t = nil; return t.x end,
    function() return io.open("/etc/passwd") end,
    function() error(setmetatable({}, {__tostring = function() error("again") end})) end,
    function() local function deep() return (("x"):gsub("x", deep)) end; return deep() end,
    function() coroutine.wrap(function() error("inside") end)() end,
    function() local closing <close> = setmetatable({}, {__close = function() error("closing") end}) end,
}

return function(req)
    local kind = tonumber(req.path:match("%d+"))
    if kind then
        kinds[kind]()
    end
    req:reply(200, {["x-target"] = req.target}, "it did not raise\n")
end
]]

M["silent.lua"] = [[
return function() end
]]

-- Takes more memory than its VM may have, in ways that scripts do.
M["hungry.lua"] = [[
local kept = {}

local function deep()
    return 1 + deep()
end

return function(req)
    local path, text = req.path, "modest\n"
    if path == "/hungry/rep" then
        text = ("x"):rep(8 << 20)
    elseif path == "/hungry/table" then
        for i = 1, 1 << 20 do
            kept[i] = {i}
        end
    elseif path == "/hungry/deep" then
        deep()
    elseif path == "/hungry/caught" then
        text = tostring(pcall(string.rep, "x", 8 << 20))
    end
    req:reply(200, {["x-target"] = req.target}, text)
end
]]

M["order.lua"] = [[
local weir = require "weir"

return function(event)
    weir.emit("next", event)
end
]]

-- Raises unless each user's events come as numbered. Between two of them a user's partition may move to another worker,
-- whose VM then knows of earlier ones only: it can miss a fault, but sees none where there is none.
M["collect.lua"] = [[
local last = {}

return function(event)
    local user, number = event.user, event.number
    if number <= (last[user] or 0) then
        error(("user %d: %d after %d"):format(user, number, last[user]))
    end
    last[user] = number < 21 and number or nil
    if event.req then
        event.req:reply(200, {["x-target"] = event.req.target}, "in order\n")
    end
end
]]

return M
