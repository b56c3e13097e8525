local weir = require "weir"

local M = {}
local upstream

function M.init(ctx)
    upstream = ctx.config.upstream
    weir.http.limits{per_host = 1024, kept = 1024}
end

function M.handle(req)
    local answer, why = weir.http.request{url = upstream .. req.target, method = req.method, redirects = 0}
    if not answer then
        return req:reply(502, why)
    end
    req:reply(answer.status, {["content-type"] = answer.headers["content-type"]}, answer.body)
end

return M
