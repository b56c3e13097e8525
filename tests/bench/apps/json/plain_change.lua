-- What change.lua does, without a host: run by lua5.4.
local cjson = require "cjson"
local decode, encode = cjson.decode, cjson.encode

for line in io.lines() do
    local record = decode(line)
    record.status = record.status + 1
    record.service = "shop/" .. record.service
    io.write(encode(record), "\n")
end
