local weir = require "weir"

return function(token)
    assert(weir.emit("next", token))
end
