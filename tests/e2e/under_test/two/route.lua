local weir = require "weir"
return function(e)
    if type(e) == "userdata" then assert(weir.emit("work", {req = e, path = e.path})) return end
    weir.emit("log", e)
    weir.emit("work", e)
end
