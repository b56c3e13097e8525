local M = {}

local big = ("x"):rep(1048576)

function M.init(ctx)
    M.files = ctx.config.files
end

function M.handle(req)
    if req.path == "/big" then
        req:reply(200, {["content-type"] = "text/plain"}, big)
    elseif req.path == "/file" then
        req:reply {status = 200, file = "file", root = M.files}
    else
        req:reply(200, {["content-type"] = "text/plain"}, "hello " .. req.path .. "\n")
    end
end

return M
