package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/initrd"
	"github.com/sidusboot/sidusboot/iscsi"
)

// nodeFacts are what is known of a node before it boots.
type nodeFacts struct {
	origin string // Where it was named, for messages.
	lease  config.Lease
	// target and initiator are empty where templates make them.
	target, initiator string
}

// match is the node's MATCH in a secrets file: the surest fact that is known.
func (n nodeFacts) match() string {
	switch {
	case n.initiator != "":
		return n.initiator
	case len(n.lease.MAC) > 0:
		return n.lease.MAC.String()
	case n.lease.Addr.IsValid():
		return n.lease.Addr.String()
	}
	return ""
}

// maxNodes keeps a mistyped range from filling the disk.
const maxNodes = 1 << 16

var errTooMany = fmt.Errorf("more than %d nodes: check the range", maxNodes)

func readNodes(opts secretsOptions) ([]nodeFacts, error) {
	if opts.Targets != "" {
		return readLines("--targets", opts.Targets, "TARGET [MATCH]", parseTargetLine)
	}
	var nodes []nodeFacts
	for _, text := range opts.Nodes {
		more, err := parseRange(text)
		if err != nil {
			return nil, command.Usagef("--nodes %s: %w", text, err)
		}
		for _, n := range more {
			n.origin = "--nodes " + n.origin
			nodes = append(nodes, n)
		}
		if len(nodes) > maxNodes {
			return nil, command.Usagef("--nodes %s: %w", text, errTooMany)
		}
	}
	if opts.NodesFrom != "" {
		more, err := readLines("--nodes-from", opts.NodesFrom, "ADDRESS [MAC]", parseNodeLine)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, more...)
	}
	return nodes, nil
}

// readLines reads a file of nodes. What follows a # is a comment.
func readLines(flag, name, form string, parse func([]string) ([]nodeFacts, error)) ([]nodeFacts, error) {
	data, err := initrd.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: give a file with one %s on each line", flag, err, form)
	}
	var nodes []nodeFacts
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		number++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		origin := fmt.Sprintf("%s: %s: line %d", flag, name, number)
		if len(words) > 2 {
			return nil, fmt.Errorf("%s: %d words on one line: write %s", origin, len(words), form)
		}
		more, err := parse(words)
		if err == nil && len(nodes)+len(more) > maxNodes {
			err = errTooMany
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", origin, err)
		}
		for _, n := range more {
			n.origin = origin
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s: %s has no entries: write one %s on each line", flag, name, form)
	}
	return nodes, nil
}

// parseNodeLine reads RANGE, or ADDRESS MAC.
func parseNodeLine(words []string) ([]nodeFacts, error) {
	nodes, err := parseRange(words[0])
	if err != nil || len(words) == 1 {
		return nodes, err
	}
	if len(nodes) > 1 {
		return nil, errors.New("a MAC after a range: write one address and its MAC on each line")
	}
	if nodes[0].lease.MAC, err = parseMAC(words[1]); err != nil {
		return nil, err
	}
	return nodes, nil
}

// parseTargetLine reads TARGET [MATCH].
func parseTargetLine(words []string) ([]nodeFacts, error) {
	n := nodeFacts{target: words[0]}
	if len(words) == 1 {
		return []nodeFacts{n}, nil
	}
	match := words[1]
	var err error
	if n.lease.Addr, err = parseAddr(match); err == nil {
		return []nodeFacts{n}, nil
	}
	if n.lease.MAC, err = parseMAC(match); err == nil {
		return []nodeFacts{n}, nil
	}
	if n.initiator, err = iscsi.NormalizeName(match); err != nil {
		return nil, fmt.Errorf("MATCH %q is not an IPv4 address, a MAC or an initiator name: write one of these", match)
	}
	return []nodeFacts{n}, nil
}

// parseRange reads 10.0.0.7 or 10.0.0.1-10.0.0.20.
func parseRange(text string) ([]nodeFacts, error) {
	from, to, isRange := strings.Cut(text, "-")
	first, err := parseAddr(from)
	if err != nil {
		return nil, err
	}
	last := first
	if isRange {
		if last, err = parseAddr(to); err != nil {
			return nil, err
		}
	}
	if last.Less(first) {
		return nil, fmt.Errorf("the range ends before it begins: write %s-%s", last, first)
	}
	var nodes []nodeFacts
	for addr := first; addr.Compare(last) <= 0; addr = addr.Next() {
		if len(nodes) == maxNodes {
			return nil, errTooMany
		}
		nodes = append(nodes, nodeFacts{origin: addr.String(), lease: config.Lease{Addr: addr}})
		if addr == last { // There is nothing behind 255.255.255.255.
			break
		}
	}
	return nodes, nil
}

func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is4() || addr.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("%q is not an IPv4 address: write 10.0.0.7 or 10.0.0.1-10.0.0.20", text)
	}
	return addr, nil
}

func parseMAC(text string) (net.HardwareAddr, error) {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 {
		return nil, fmt.Errorf("%q is not a MAC: write 52:54:00:12:34:56", text)
	}
	return hw, nil
}
