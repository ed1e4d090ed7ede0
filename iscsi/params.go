package iscsi

import (
	"strconv"
)

// A setting is one SET_PARAM.
type setting struct {
	param param
	value string
}

func (s *Session) set(settings []setting) error {
	for _, p := range settings {
		if err := s.kernel.setParam(s.id.Session, p.param, p.value); err != nil {
			return err
		}
	}
	return nil
}

// before is what is set before the login. The kernel takes parameters of a
// bound connection only (iscsi_if_set_param).
func (s *Session) before() []setting {
	return []setting{
		{paramRecoveryTimeout, seconds(s.target.Timeouts.Recovery)},
		{paramTargetName, s.target.Name},
		{paramInitiatorName, s.target.Initiator},
	}
}

// after is what the login agreed on, and what iscsid reads from sysfs when it
// takes the session over (iscsi_sysfs_get_sessioninfo_by_id of open-iscsi): it
// skips a session that lacks the group tag, the address or the interface.
func (s *Session) after(p Params, persistent Portal) []setting {
	t := s.target
	group := p.PortalGroup
	if group < 0 { // Not said; most targets have one group, the first.
		group = 1
	}
	settings := []setting{
		{paramMaxRecv, number(p.MaxRecv)},
		{paramMaxXmit, number(p.MaxXmit)},
		{paramHeaderDigest, flag(p.HeaderDigest)},
		{paramDataDigest, flag(p.DataDigest)},
		{paramInitialR2T, flag(p.InitialR2T)},
		{paramImmediateData, flag(p.ImmediateData)},
		{paramMaxR2T, number(p.MaxOutstandingR2T)},
		{paramMaxBurst, number(p.MaxBurst)},
		{paramFirstBurst, number(p.FirstBurst)},
		{paramPDUInOrder, flag(p.DataPDUInOrder)},
		{paramDataSeqInOrder, flag(p.DataSequenceInOrder)},
		{paramERL, number(p.ErrorRecoveryLevel)},
		{paramExpStatSN, number(p.ExpStatSN)},
		{paramTPGT, strconv.Itoa(group)},
		{paramPersistentAddr, persistent.Host},
		{paramPersistentPort, strconv.Itoa(int(persistent.Port))},
		{paramIfaceName, "default"},
		{paramFastAbort, "1"},
		{paramAbortTimeout, seconds(t.Timeouts.Abort)},
		{paramLUResetTimeout, seconds(t.Timeouts.Reset)},
		{paramTgtResetTimeout, seconds(t.Timeouts.Reset)},
		{paramPingTimeout, seconds(t.Timeouts.PingReply)},
		{paramRecvTimeout, seconds(t.Timeouts.Ping)},
	}
	for _, s := range []setting{
		{paramTargetAlias, p.TargetAlias},
		{paramUsername, t.User}, {paramPassword, string(t.Password)},
		{paramUsernameIn, t.UserIn}, {paramPasswordIn, string(t.PasswordIn)},
	} {
		if s.value != "" {
			settings = append(settings, s)
		}
	}
	return settings
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}
