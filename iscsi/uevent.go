package iscsi

import "encoding/binary"

// A uevent is struct iscsi_uevent: two numbers, a handle, and two unions, u
// for what user space says and r for what the kernel says, in the machine's
// byte order (include/scsi/iscsi_if.h).
type uevent [ueventLen]byte

const (
	offType    = 0  // uint32_t type
	offError   = 4  // uint32_t iferror
	offHandle  = 8  // uint64_t transport_handle
	offU       = 16 // union u
	offR       = 40 // union r
	ueventLen  = 56
	nlmsgLen   = 16 // struct nlmsghdr
	groupIscsi = 1  // ISCSI_NL_GRP_ISCSID
)

// Requests, UEVENT_BASE is 10.
const (
	ueventCreateSession  = 11
	ueventDestroySession = 12
	ueventCreateConn     = 13
	ueventDestroyConn    = 14
	ueventBindConn       = 15
	ueventSetParam       = 16
	ueventStartConn      = 17
	ueventStopConn       = 18
	ueventSendPDU        = 19
	ueventUnbindSession  = 27
)

// Events, KEVENT_BASE is 100.
const (
	keventRecvPDU        = 101
	keventConnError      = 102
	keventIfError        = 103
	keventDestroySession = 104
	keventUnbindSession  = 105
)

// Flags of STOP_CONN.
const (
	stopTerm    = 1
	stopRecover = 3
)

// A param is enum iscsi_param.
type param uint32

const (
	paramMaxRecv         param = 0
	paramMaxXmit         param = 1
	paramHeaderDigest    param = 2
	paramDataDigest      param = 3
	paramInitialR2T      param = 4
	paramMaxR2T          param = 5
	paramImmediateData   param = 6
	paramFirstBurst      param = 7
	paramMaxBurst        param = 8
	paramPDUInOrder      param = 9
	paramDataSeqInOrder  param = 10
	paramERL             param = 11
	paramExpStatSN       param = 14
	paramTargetName      param = 15
	paramTPGT            param = 16
	paramPersistentAddr  param = 17
	paramPersistentPort  param = 18
	paramRecoveryTimeout param = 19
	paramUsername        param = 22
	paramUsernameIn      param = 23
	paramPassword        param = 24
	paramPasswordIn      param = 25
	paramFastAbort       param = 26
	paramAbortTimeout    param = 27
	paramLUResetTimeout  param = 28
	paramPingTimeout     param = 30
	paramRecvTimeout     param = 31
	paramIfaceName       param = 32
	paramInitiatorName   param = 34
	paramTgtResetTimeout param = 35
	paramTargetAlias     param = 36
)

func (e *uevent) u32(at int) uint32 { return binary.NativeEndian.Uint32(e[at:]) }

// words fills a union, or its start, with uint32_t fields.
func (e *uevent) words(at int, values ...uint32) {
	for i, v := range values {
		binary.NativeEndian.PutUint32(e[at+4*i:], v)
	}
}

func (e *uevent) u64(at int, v uint64) { binary.NativeEndian.PutUint64(e[at:], v) }

// kind is the type inside the struct; that of the netlink header is zero in
// events.
func (e *uevent) kind() uint32 { return e.u32(offType) }

// createSession is struct msg_create_session: initial_cmdsn, then cmds_max and
// queue_depth of 16 bits each.
func createSession(cmdSN uint32, commands, depth uint16) (e uevent) {
	e.words(offU, cmdSN)
	binary.NativeEndian.PutUint16(e[offU+4:], commands)
	binary.NativeEndian.PutUint16(e[offU+6:], depth)
	return e
}

// bindConn is struct msg_bind_conn. The handle of a TCP connection is the
// number of its file descriptor (iscsi_sw_tcp_conn_bind).
func bindConn(sid, cid uint32, fd uintptr) (e uevent) {
	e.words(offU, sid, cid)
	e.u64(offU+8, uint64(fd))
	e.words(offU+16, 1) // is_leading
	return e
}

// stopConn is struct msg_stop_conn.
func stopConn(sid, cid, flag uint32) (e uevent) {
	e.words(offU, sid, cid)
	e.words(offU+16, flag)
	return e
}

// plain is one of the structs that are nothing but uint32_t fields.
func plain(values ...uint32) (e uevent) {
	e.words(offU, values...)
	return e
}
