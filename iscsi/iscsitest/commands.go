package iscsitest

import (
	"net"

	"github.com/sidusboot/sidusboot/iscsi"
)

// Commands serves a connection that has logged in, to its end.
func (t *Target) Commands(c net.Conn) {
	defer c.Close()
	t.afterLogin(c)
}

// afterLogin answers logouts, carries out commands where Target.SCSI is set, and
// ignores the rest.
func (t *Target) afterLogin(c net.Conn) {
	statSN := uint32(100)
	for {
		p, err := iscsi.ReadPDU(c, 1<<20)
		if err != nil {
			return
		}
		switch p.Header.Opcode() {
		case iscsi.OpLogoutRequest:
			answer := iscsi.PDU{}
			answer.Header[0], answer.Header[1] = iscsi.OpLogoutResponse, 0x80
			answer.Header.SetUint32(16, p.Header.Uint32(16))
			c.Write(answer.Append(nil))
			return
		case 0x01:
			if t.SCSI == nil {
				return
			}
			if t.Before != nil {
				for _, extra := range t.Before(p) {
					c.Write(extra.Append(nil))
				}
			}
			if t.command(c, p, &statSN) != nil {
				return
			}
		}
	}
}

// command carries out one.
func (t *Target) command(c net.Conn, request iscsi.PDU, statSN *uint32) error {
	h := &request.Header
	length := int(h.Uint32(20))
	chunk := t.Chunk
	if chunk == 0 {
		chunk = 1 << 20
	}
	answer := func(op, flags byte) *iscsi.PDU {
		var p iscsi.PDU
		p.Header[0], p.Header[1] = op, flags
		p.Header.SetUint32(16, h.Uint32(16))
		p.Header.SetUint32(24, *statSN)
		return &p
	}
	send := func(p *iscsi.PDU) error {
		_, err := c.Write(p.Append(nil))
		return err
	}
	data := make([]byte, length)
	write := h[1]&0x20 != 0
	if write {
		for got := copy(data, request.Data); got < length; {
			r2t := answer(0x31, 0x80)
			r2t.Header.SetUint32(20, 0x1234)
			r2t.Header.SetUint32(40, uint32(got))
			want := min(chunk, length-got)
			r2t.Header.SetUint32(44, uint32(want))
			if err := send(r2t); err != nil {
				return err
			}
			for end := got + want; got < end; {
				out, err := iscsi.ReadPDU(c, 1<<20)
				if err != nil {
					return err
				}
				if out.Header.Opcode() != 0x05 || out.Header.Uint32(20) != 0x1234 || int(out.Header.Uint32(40)) != got {
					continue
				}
				got += copy(data[got:], out.Data)
			}
		}
	}
	status, sense := t.SCSI(h[32:48], data, write)
	if !write && status == 0 && length > 0 {
		for at := 0; at < length; at += chunk {
			in := answer(0x25, 0)
			in.Data = data[at:min(length, at+chunk)]
			in.Header.SetUint32(40, uint32(at))
			if at+chunk >= length {
				in.Header[1] = 0x81
			}
			if err := send(in); err != nil {
				return err
			}
		}
		*statSN++
		return nil
	}
	end := answer(0x21, 0x80)
	end.Header[3] = status
	if len(sense) > 0 {
		end.Data = append([]byte{byte(len(sense) >> 8), byte(len(sense))}, sense...)
	}
	*statSN++
	return send(end)
}
