local weir = require "weir"

return function(req)
    weir.emit(req.path == "/slow" and "slow" or "hello", req)
end
