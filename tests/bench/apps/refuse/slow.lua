local weir = require "weir"

return function(req)
    local done = weir.now() + 0.005
    local turns = 0
    while weir.now() < done do
        turns = turns + 1
    end
    req:reply(200, {["content-type"] = "text/plain"}, turns .. " turns\n")
end
