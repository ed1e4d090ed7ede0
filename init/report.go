package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A report is /run/sidusboot/boot.json: what was chosen, from where, and how
// long each stage took. Times are in seconds since the kernel started, or of
// it, to the millisecond. No secret is ever put in it.
type report struct {
	Version  string       `json:"version"`
	Kernel   string       `json:"kernel"`
	Profile  string       `json:"profile"`
	Attempts int          `json:"attempts"`
	Init     string       `json:"init"`
	Network  networkFacts `json:"network"`
	Root     rootFacts    `json:"root"`
	RW       rwFacts      `json:"rw"`
	Union    unionFacts   `json:"union"`
	Stages   []stageFacts `json:"stages"`
	Modules  []string     `json:"modules"`
	Notes    []string     `json:"notes"`
	Failures []string     `json:"failures"`
}

type networkFacts struct {
	Device   string   `json:"device"`
	MAC      string   `json:"mac"`
	Driver   string   `json:"driver"`
	Proto    string   `json:"proto"`
	Address  string   `json:"address"`
	Routes   []string `json:"routes"`
	DNS      []string `json:"dns"`
	MTU      int      `json:"mtu"`
	Hostname string   `json:"hostname"`
	Server   string   `json:"dhcp_server"`
	Lease    int      `json:"lease_seconds"`
}

type rootFacts struct {
	Source   string `json:"source"`
	Version  string `json:"nfs_version"`
	Options  string `json:"options"`
	Origin   string `json:"origin"`
	Writable bool   `json:"writable"`
}

type rwFacts struct {
	Kind  string `json:"kind"`
	Size  string `json:"size"`
	Bytes uint64 `json:"bytes"`
}

type unionFacts struct {
	Kind string `json:"kind"`
}

// stageFacts are one stage's times in its last attempt.
type stageFacts struct {
	Name  string  `json:"name"`
	Start float64 `json:"start"`
	Took  float64 `json:"took"`
	Tries int     `json:"tries"`
}

// write puts boot.json and boot.log into dir.
func (r *report) write(dir string, log *logger) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot.json"), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot.log"), []byte(log.text()), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// A narrator tells the stages: to the log, to the report, and to the tty of
// sidus.events= where there is one.
type narrator struct {
	log    *logger
	report *report

	mu     sync.Mutex
	events *os.File
}

// openEvents starts telling the stages on a tty.
func (n *narrator) openEvents(tty string) error {
	f, err := os.OpenFile(filepath.Join("/dev", tty), os.O_WRONLY|openNoCTTY, 0)
	if err != nil {
		return fmt.Errorf("sidus.events=%s: %w", tty, err)
	}
	n.events = f
	return nil
}

// stage runs one stage of the boot and tells its begin, its end and its time.
func (n *narrator) stage(name string, run func() (string, error)) error {
	start := uptime()
	n.tell(name, "begin", start, 0, "")
	detail, err := run()
	took := uptime() - start
	n.remember(name, start, took)
	if err != nil {
		n.tell(name, "failed", start+took, took, err.Error())
		return &stageError{stage: name, err: err}
	}
	n.tell(name, "done", start+took, took, detail)
	line := fmt.Sprintf("%s: %.3f s", name, took.Seconds())
	if detail != "" {
		line += ": " + detail
	}
	n.log.noticef("%s", line)
	return nil
}

func (n *narrator) tell(name, state string, at, took time.Duration, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.events == nil {
		return
	}
	text = strings.ReplaceAll(text, "\n", "; ")
	fmt.Fprintf(n.events, "sidusboot-stage %s %s %.3f %.3f %s\n", name, state, at.Seconds(), took.Seconds(), text)
}

func (n *narrator) remember(name string, start, took time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	facts := stageFacts{Name: name, Start: milli(start), Took: milli(took), Tries: 1}
	for i := range n.report.Stages {
		if n.report.Stages[i].Name == name {
			facts.Tries = n.report.Stages[i].Tries + 1
			n.report.Stages[i] = facts
			return
		}
	}
	n.report.Stages = append(n.report.Stages, facts)
}

func milli(d time.Duration) float64 {
	return float64(d.Milliseconds()) / 1000
}

// A stageError says in which stage the boot failed.
type stageError struct {
	stage string
	err   error
}

func (e *stageError) Error() string { return e.stage + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }
