-- Loads an application's modules into a test: `require` finds them in its folder, and `weir` is a stand-in that records.
local M = {}

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$")
M.top = here .. "/../../.."

-- Makes `require` search scripts/NAME and forgets modules of that folder loaded before.
function M.use(name)
    local folder = M.top .. "/scripts/" .. name
    package.path = folder .. "/?.lua;" .. package.path
    for module in pairs(package.loaded) do
        local file = io.open(folder .. "/" .. module .. ".lua")
        if file then
            file:close()
            package.loaded[module] = nil
        end
    end
    return folder
end

-- A `weir` module that accepts every emit (unless `refuse` is set), with a clock that stands still.
function M.fake_weir()
    local weir = {emitted = {}, logged = {}, clock = 1000.0, log = {}}
    for _, level in ipairs {"debug", "info", "warn", "error"} do
        weir.log[level] = function(text, fields)
            weir.logged[#weir.logged + 1] = {level = level, text = text, fields = fields}
        end
    end
    function weir.emit(port, event)
        if weir.refuse then
            return nil, weir.refuse
        end
        weir.emitted[#weir.emitted + 1] = {port = port, event = event}
        return true
    end
    function weir.now()
        return weir.clock
    end
    function weir.time()
        return 784111777.5
    end
    function weir.queue(stage)
        return {depth = 3, capacity = 12, offered = 10, accepted = 9, rejected = 1, handled = 6, failed = 0, expired = 0,
            dropped = 0, running = 0, wait_p50 = 2e-6, wait_p99 = 5e-6, rate = 17.5, name = stage}
    end
    package.loaded.weir = weir
    return weir
end

-- A request as the http source makes it; `answer` holds what was replied.
function M.request(target, headers, method)
    local req = {method = method or "GET", target = target, path = target:match("^[^?]*"), headers = headers or {},
        remote = "127.0.0.1:5555"}
    function req.age()
        return 0.000123
    end
    function req.reply(self, status, fields, body)
        assert(self == req and not req.answer, "one answer to a request, and by ':'")
        if type(status) == "table" then
            req.answer = status
        elseif type(fields) == "string" then
            req.answer = {status = status, headers = {}, body = fields}
        else
            req.answer = {status = status, headers = fields or {}, body = body}
        end
    end
    return req
end

return M
