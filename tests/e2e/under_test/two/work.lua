local weir = require "weir"
return function(e)
    if e.req then e.req:reply(200, "worked on " .. e.path) else weir.emit("out", e) end
    if e.bad then error("bad one") end
end
