local weir = require "weir"
local emit = weir.emit

return function(line)
    emit("out", line)
end
