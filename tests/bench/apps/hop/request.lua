local weir = require "weir"

return function(token)
    weir.emit("next", token)
end
