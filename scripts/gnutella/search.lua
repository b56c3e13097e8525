-- What we have ourselves. A search takes a while, as in the paper's experiment, and holds its thread meanwhile.
local weir = require "weir"
local packet = require "packet"

local M, config = {}, {}
local SERVENT <const> = ("weir"):rep(4)

function M.init(ctx)
    config = ctx.config
end

function M.handle(query)
    weir.sleep(config.seconds or 0)
    local results = {}
    for index, name in ipairs(config.files or {}) do
        if query.text ~= "" and name:find(query.text, 1, true) then
            results[#results + 1] = {index, 1024, name}
        end
    end
    if #results == 0 then
        return
    end
    local conn = weir.conn(query.conn)
    if conn then
        conn:send(packet.pack(query.id, packet.HIT, query.hops + 1, 0, packet.hit(results, SERVENT)))
    end
end

return M
