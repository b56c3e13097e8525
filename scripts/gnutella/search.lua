-- What we have ourselves. Some searches are slow, as in the paper's experiment: they hold their thread.
local weir = require "weir"
local packet = require "packet"

local M, config = {}, {}
local SERVENT <const> = ("weir"):rep(4)
local count = 0

function M.init(ctx)
    config = ctx.config
end

function M.handle(query)
    count = count + 1
    local share = config.slow_share or 0
    if share > 0 and (count * share) // 1 > ((count - 1) * share) // 1 then
        weir.sleep(config.slow_seconds)
    end
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
