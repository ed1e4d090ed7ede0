package qemutests

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// AgentParam, on the kernel command line, makes systemd start the agent in a
// tree made by mktree. AgentInit is the same agent for use as init=.
const (
	AgentParam = "sidustest.agent"
	AgentInit  = "/usr/lib/sidusboot-test/agent"
)

// agentHello is what the agent says when its shell is about to start. What was
// sent before is lost.
const agentHello = "sidusboot-agent ready\n"

// errAgentRestarted says that the shell which ran a command is gone.
var errAgentRestarted = errors.New("the agent was started again")

// WaitAgent waits until the agent answers.
func (g *Guest) WaitAgent(ctx context.Context) error {
	ctx, cancel := g.lab.bounded(ctx, "the agent")
	defer cancel()
	_, err := g.waitAgent(ctx)
	return err
}

// waitAgent returns how often the agent has started.
func (g *Guest) waitAgent(ctx context.Context) (starts int, err error) {
	for {
		text, changed, ended := g.agentLog.state()
		if n := bytes.Count(text, []byte(agentHello)); n > 0 {
			return n, nil
		}
		if err := g.waitChange(ctx, changed, ended); err != nil {
			return 0, g.explain(fmt.Errorf("waiting for the agent: %w", err))
		}
	}
}

// Run runs a shell command as root in the guest, and waits for the agent
// first. It returns standard output and standard error together, and the exit
// status. An error means that there is no status.
func (g *Guest) Run(ctx context.Context, command string) (output string, exit int, err error) {
	ctx, cancel := g.lab.bounded(ctx, fmt.Sprintf("%q in the guest", command))
	defer cancel()
	g.agentMu.Lock()
	defer g.agentMu.Unlock()
	starts, err := g.waitAgent(ctx)
	if err != nil {
		return "", 0, err
	}
	text, _, _ := g.agentLog.state()
	offset := len(text)
	mark := rand.Text()
	if _, err := g.agentConn.Write(agentRequest(mark, command)); err != nil {
		return "", 0, g.explain(fmt.Errorf("run %q: %w", command, err))
	}
	for {
		text, changed, ended := g.agentLog.state()
		if output, exit, ok := agentAnswer(string(text[offset:]), mark); ok {
			g.lab.watch.progress(fmt.Sprintf("the answer to %q in %s", command, g.name))
			return output, exit, nil
		}
		err := g.waitChange(ctx, changed, ended)
		if bytes.Count(text, []byte(agentHello)) > starts {
			err = errAgentRestarted
		}
		if err != nil {
			// A command that hangs keeps the next one from running: a Ctrl-C
			// means nothing on a raw terminal. The caller has to know that.
			return string(text[offset:]), 0, g.explain(fmt.Errorf("run %q: %w", command, err))
		}
	}
}

// Must runs a command like Run, and a status other than 0 is an error as well.
func (g *Guest) Must(ctx context.Context, command string) (string, error) {
	output, exit, err := g.Run(ctx, command)
	if err == nil && exit != 0 {
		err = fmt.Errorf("%s: run %q: exit status %d: %s", g.name, command, exit, strings.TrimSpace(output))
	}
	return output, err
}

// Type gives the agent's shell a line and does not wait for its result.
func (g *Guest) Type(line string) error {
	g.agentMu.Lock()
	defer g.agentMu.Unlock()
	_, err := fmt.Fprintln(g.agentConn, line)
	return err
}

// waitChange waits for more text on a port. It is an error when there can be none.
func (g *Guest) waitChange(ctx context.Context, changed <-chan struct{}, ended bool) error {
	_, console, _ := g.console.state()
	if err := g.trouble(); err != nil {
		return err
	}
	if ended {
		return errors.New("guest ended")
	}
	select {
	case <-changed:
	case <-console: // perhaps a panic
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// agentRequest is the line for the agent's shell. The command travels as
// base64, so that no quoting is lost. The marks are broken up: an echo of the
// line, from a terminal not yet raw, does not look like an answer.
func agentRequest(mark, command string) []byte {
	half := len(mark) / 2
	broken := mark[:half] + `""` + mark[half:]
	encoded := base64.StdEncoding.EncodeToString([]byte(command))
	return fmt.Appendf(nil, "echo begin-%s; sh -c \"$(echo %s | base64 -d)\" </dev/null 2>&1; echo end-%s $?\n",
		broken, encoded, broken)
}

// agentAnswer finds the output and the status between the marks.
func agentAnswer(text, mark string) (output string, exit int, ok bool) {
	_, text, ok = strings.Cut(text, "begin-"+mark+"\n")
	if !ok {
		return "", 0, false
	}
	output, text, ok = strings.Cut(text, "end-"+mark+" ")
	if !ok {
		return "", 0, false
	}
	status, _, ok := strings.Cut(text, "\n")
	if !ok {
		return "", 0, false
	}
	exit, err := strconv.Atoi(status)
	return output, exit, err == nil
}

// AgentStarts is how often the agent has started so far.
func (g *Guest) AgentStarts() int {
	text, _, _ := g.agentLog.state()
	return bytes.Count(text, []byte(agentHello))
}

// WaitAgentStart waits until the agent has started n times.
func (g *Guest) WaitAgentStart(ctx context.Context, n int) error {
	ctx, cancel := g.lab.bounded(ctx, "another start of the agent")
	defer cancel()
	for {
		text, changed, ended := g.agentLog.state()
		if bytes.Count(text, []byte(agentHello)) >= n {
			return nil
		}
		if err := g.waitChange(ctx, changed, ended); err != nil {
			return g.explain(fmt.Errorf("waiting for start %d of the agent: %w", n, err))
		}
	}
}
