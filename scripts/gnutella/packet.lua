-- Gnutella 0.4 descriptors: a header of 23 bytes (id, type, ttl, hops, length of what follows), then the payload.
local M = {}

M.HEADER = 23
M.PAYLOAD_MAX = 64 * 1024
M.PING, M.PONG, M.PUSH, M.QUERY, M.HIT = 0x00, 0x01, 0x40, 0x80, 0x81
M.TTL_MAX = 7

local NAMES <const> = {[0x00] = "ping", [0x01] = "pong", [0x40] = "push", [0x80] = "query", [0x81] = "hit"}

function M.name(type)
    return NAMES[type]
end

-- The header at `at` of `data`, as id, type, ttl, hops, length; nil while it is not whole.
function M.header(data, at)
    if #data - at + 1 < M.HEADER then
        return nil
    end
    local id, type, ttl, hops, length = ("<c16BBBI4"):unpack(data, at)
    return id, type, ttl, hops, length
end

function M.pack(id, type, ttl, hops, payload)
    return ("<c16BBBI4"):pack(id, type, ttl, hops, #payload) .. payload
end

-- Who we are: port and address of the answer to a ping, files and kilobytes shared.
function M.pong(files, kilobytes)
    return ("<I2c4I4I4"):pack(6346, "\127\0\0\1", files, kilobytes)
end

-- A query's text; the first two bytes are the least speed asked for.
function M.query_text(payload)
    return #payload > 3 and payload:match("^[^\0]*", 3) or ""
end

-- Results are {index, size, name}; `servent` are the 16 bytes that a push asks for.
function M.hit(results, servent)
    local parts = {("<BI2c4I4"):pack(#results, 6346, "\127\0\0\1", 1000)}
    for _, result in ipairs(results) do
        parts[#parts + 1] = ("<I4I4"):pack(result[1], result[2]) .. result[3] .. "\0\0"
    end
    parts[#parts + 1] = servent
    return table.concat(parts)
end

-- The servent of a hit, or of a push.
function M.servent_of_hit(payload)
    return payload:sub(-16)
end

function M.servent_of_push(payload)
    return payload:sub(1, 16)
end

return M
