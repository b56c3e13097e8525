local weir = require "weir"

return function(req)
    local count, kind = req.path:match("^/(%d+)/(%l+)$")
    local accepted = 0
    for i = 1, tonumber(count) do
        local event = i
        if kind == "table" then
            event = {name = "a token", path = "/some/where", left = i, ratio = 0.25, good = true}
        end
        if weir.emit("sleeper", event) then
            accepted = accepted + 1
        end
    end
    req:reply(200, accepted .. " accepted\n")
end
