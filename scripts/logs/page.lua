-- The minutes that were written out last, as JSON: GET /, or /?service=shop.
local weir = require "weir"

local minutes = weir.shared("minutes")

return function(req)
    if req.path ~= "/" then
        return req:reply(404, "there is only /")
    end
    local wanted = req.query:match("service=([^&]+)")
    local rows, list = {}, {}
    for key, value in minutes:pairs() do
        local field, minute, team, service = key:match("^done\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
        if field and (not wanted or wanted == service) then
            local name = minute .. " " .. service
            if not rows[name] then
                rows[name] = {minute = minute, team = team, service = service}
                list[#list + 1] = rows[name]
            end
            rows[name][field] = value
        end
    end
    table.sort(list, function(a, b)
        if a.minute ~= b.minute then
            return a.minute > b.minute
        end
        return a.service < b.service
    end)
    req:reply(200, {["Content-Type"] = "application/json"}, weir.json.encode(weir.json.array(list)))
end
