package iscsi

import (
	"slices"
	"strconv"
	"strings"
)

// Params are what a login agreed on (RFC 7143, section 13).
type Params struct {
	// MaxRecv is what we declared, MaxXmit what the target did.
	MaxRecv, MaxXmit                     uint32
	HeaderDigest, DataDigest             bool
	InitialR2T, ImmediateData            bool
	MaxBurst, FirstBurst                 uint32
	MaxOutstandingR2T                    uint32
	DataPDUInOrder, DataSequenceInOrder  bool
	ErrorRecoveryLevel                   uint32
	DefaultTime2Wait, DefaultTime2Retain uint32
	MaxConnections                       uint32
	TargetAlias                          string
	PortalGroup                          int // -1: the target did not say
	ExpStatSN                            uint32
	TSIH                                 uint16
}

const (
	declaredRecv = 262144
	defaultRecv  = 8192 // what a target takes that declares nothing
	minSegment   = 512
	maxSegment   = 1<<24 - 1
)

// A rule says how the answer to an offer is combined with it.
type rule uint8

const (
	ruleAnd rule = iota // Yes where both say Yes
	ruleOr              // Yes where one says Yes
	ruleMin
	ruleMax
	ruleList    // one value out of the offered ones
	ruleDeclare // each end says its own
)

// An item is one operational key: what we offer, what holds when the target
// does not take part (the default of RFC 7143, section 13), and what came.
type item struct {
	key             string
	rule            rule
	offer, standard string
	low, high       uint32

	sent, answered bool
	result         string
}

// A negotiation is the operational part of a login.
type negotiation struct {
	items  []item
	params Params
	// replies are our answers to keys that the target brought up.
	replies []Pair
}

func newNegotiation(t *Target) *negotiation {
	return &negotiation{
		params: Params{PortalGroup: -1, MaxRecv: declaredRecv, MaxXmit: defaultRecv},
		items: []item{
			{key: "HeaderDigest", rule: ruleList, offer: t.HeaderDigest.offer(), standard: "None"},
			{key: "DataDigest", rule: ruleList, offer: t.DataDigest.offer(), standard: "None"},
			{key: "MaxRecvDataSegmentLength", rule: ruleDeclare, offer: strconv.Itoa(declaredRecv), low: minSegment, high: maxSegment},
			{key: "InitialR2T", rule: ruleOr, offer: "No", standard: "Yes"},
			{key: "ImmediateData", rule: ruleAnd, offer: "Yes", standard: "Yes"},
			{key: "MaxBurstLength", rule: ruleMin, offer: "16776192", standard: "262144", low: minSegment, high: maxSegment},
			{key: "FirstBurstLength", rule: ruleMin, offer: "262144", standard: "65536", low: minSegment, high: maxSegment},
			{key: "MaxOutstandingR2T", rule: ruleMin, offer: "1", standard: "1", low: 1, high: 65535},
			{key: "MaxConnections", rule: ruleMin, offer: "1", standard: "1", low: 1, high: 65535},
			{key: "DataPDUInOrder", rule: ruleOr, offer: "Yes", standard: "Yes"},
			{key: "DataSequenceInOrder", rule: ruleOr, offer: "Yes", standard: "Yes"},
			{key: "ErrorRecoveryLevel", rule: ruleMin, offer: "0", standard: "0", high: 2},
			{key: "DefaultTime2Wait", rule: ruleMax, offer: "2", standard: "2", high: 3600},
			{key: "DefaultTime2Retain", rule: ruleMin, offer: "0", standard: "20", high: 3600},
		},
	}
}

func (d Digest) offer() string {
	switch d {
	case DigestPrefer:
		return "CRC32C,None"
	case DigestRequire:
		return "CRC32C"
	case DigestOff:
		return "None"
	}
	return "None,CRC32C"
}

// offers are the keys that were not settled yet.
func (n *negotiation) offers() []Pair {
	var pairs []Pair
	for i := range n.items {
		if it := &n.items[i]; !it.sent {
			it.sent = true
			pairs = append(pairs, Pair{it.key, it.offer})
		}
	}
	return pairs
}

// take reads what the target says about one key.
func (n *negotiation) take(p Pair) error {
	switch p.Key {
	case "TargetPortalGroupTag":
		tag, err := strconv.ParseUint(p.Value, 10, 16)
		if err != nil {
			return protocolErrorf("TargetPortalGroupTag=%.40q", p.Value)
		}
		n.params.PortalGroup = int(tag)
		return nil
	case "TargetAlias":
		if len(p.Value) <= maxValue {
			n.params.TargetAlias = p.Value
		}
		return nil
	case "TargetAddress", "TargetName", "InitiatorAlias":
		return nil
	}
	i := slices.IndexFunc(n.items, func(it item) bool { return it.key == p.Key })
	if i < 0 {
		n.reply(p.Key, unknownReply(p))
		return nil
	}
	it := &n.items[i]
	if it.answered {
		return protocolErrorf("%s is answered twice", p.Key)
	}
	it.answered = true
	result, err := it.combine(p.Value)
	if err != nil {
		return err
	}
	it.result = result
	if !it.sent { // The target spoke first: this is our answer.
		it.sent = true
		if it.rule == ruleDeclare {
			result = it.offer
		} else if result == "" {
			result = "Reject"
		}
		n.replies = append(n.replies, Pair{it.key, result})
	}
	return nil
}

// unknownReply is the answer to a key that we do not know: the markers of RFC
// 3720 are declined, the rest is not understood. An answer needs none.
func unknownReply(p Pair) string {
	switch {
	case noValue(p.Value):
		return ""
	case p.Key == "IFMarker" || p.Key == "OFMarker":
		return "No"
	case p.Key == "IFMarkInt" || p.Key == "OFMarkInt":
		return "Irrelevant"
	}
	return "NotUnderstood"
}

func (n *negotiation) reply(key, value string) {
	if value != "" {
		n.replies = append(n.replies, Pair{key, value})
	}
}

// takeReplies returns our answers once.
func (n *negotiation) takeReplies() []Pair {
	replies := n.replies
	n.replies = nil
	return replies
}

// noValue tells whether a value is one by which a peer declines to negotiate a key.
func noValue(v string) bool {
	return v == "NotUnderstood" || v == "Reject" || v == "Irrelevant"
}

// combine returns what holds after the target's value. Empty: the default. The
// result is computed from both ends' values, so that a target that answers
// more than was offered gets no more than was offered.
func (it *item) combine(v string) (string, error) {
	if noValue(v) || v == "None" && it.rule != ruleList {
		return "", nil
	}
	switch it.rule {
	case ruleAnd, ruleOr:
		if v != "Yes" && v != "No" {
			return "", protocolErrorf("%s=%.40q is neither Yes nor No", it.key, v)
		}
		if it.rule == ruleAnd && it.offer == "No" || it.rule == ruleOr && it.offer == "Yes" {
			return it.offer, nil
		}
		return v, nil
	case ruleList:
		offered := strings.Split(it.offer, ",")
		for choice := range strings.SplitSeq(v, ",") {
			if slices.Contains(offered, choice) {
				return choice, nil
			}
		}
		return "", protocolErrorf("%s=%.40q where %s was offered", it.key, v, it.offer)
	}
	theirs, err := parseNumber(v)
	if err != nil || theirs < it.low || theirs > it.high {
		return "", protocolErrorf("%s=%.40q is not between %d and %d", it.key, v, it.low, it.high)
	}
	ours, err := parseNumber(it.offer)
	if err != nil {
		return "", err
	}
	switch {
	case it.rule == ruleMin && ours < theirs, it.rule == ruleMax && ours > theirs:
		theirs = ours
	}
	return strconv.FormatUint(uint64(theirs), 10), nil
}

// parseNumber reads a numerical value, decimal or with 0x (RFC 7143, section 6.1).
func parseNumber(v string) (uint32, error) {
	base := 10
	if len(v) > 2 && (v[:2] == "0x" || v[:2] == "0X") {
		v, base = v[2:], 16
	}
	n, err := strconv.ParseUint(v, base, 32)
	return uint32(n), err
}

// finish returns the outcome.
func (n *negotiation) finish(t *Target) (Params, error) {
	p := &n.params
	flags := map[string]*bool{
		"InitialR2T": &p.InitialR2T, "ImmediateData": &p.ImmediateData,
		"DataPDUInOrder": &p.DataPDUInOrder, "DataSequenceInOrder": &p.DataSequenceInOrder,
		"HeaderDigest": &p.HeaderDigest, "DataDigest": &p.DataDigest,
	}
	numbers := map[string]*uint32{
		"MaxRecvDataSegmentLength": &p.MaxXmit, "MaxBurstLength": &p.MaxBurst, "FirstBurstLength": &p.FirstBurst,
		"MaxOutstandingR2T": &p.MaxOutstandingR2T, "MaxConnections": &p.MaxConnections, "ErrorRecoveryLevel": &p.ErrorRecoveryLevel,
		"DefaultTime2Wait": &p.DefaultTime2Wait, "DefaultTime2Retain": &p.DefaultTime2Retain,
	}
	for _, it := range n.items {
		v := it.result
		if v == "" {
			v = it.standard
		}
		if flag := flags[it.key]; flag != nil {
			*flag = v == "Yes" || v == "CRC32C"
		} else if v != "" {
			number, err := parseNumber(v)
			if err != nil {
				return Params{}, protocolErrorf("%s=%.40q", it.key, v)
			}
			*numbers[it.key] = number
		}
	}
	if t.HeaderDigest == DigestRequire && !p.HeaderDigest || t.DataDigest == DigestRequire && !p.DataDigest {
		return Params{}, protocolErrorf("the target does not accept the digests that this node requires")
	}
	// iscsi_conn_start takes no first burst beyond the whole one.
	p.FirstBurst = min(p.FirstBurst, p.MaxBurst)
	return *p, nil
}
