-- Two fields of each record are changed.
local weir = require "weir"
local decode, encode, emit = weir.json.decode, weir.json.encode, weir.emit

return function(line)
    local record = assert(decode(line))
    record.status = record.status + 1
    record.service = "shop/" .. record.service
    emit("out", encode(record))
end
