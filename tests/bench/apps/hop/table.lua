local weir = require "weir"

return function(token)
    token.good = not token.good
    assert(weir.emit("next", token))
end
