package qemutests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// A monitor speaks QMP, the language of QEMU's monitor: commands are answered
// in order, events come in between.
type monitor struct {
	conn    net.Conn
	onEvent func(name string, data json.RawMessage)
	answers chan qmpMessage
	ended   chan struct{}

	mu sync.Mutex // one command at a time
}

type qmpMessage struct {
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// errMonitorEnded says that QEMU closed its monitor, mostly by ending.
var errMonitorEnded = errors.New("monitor closed")

// newMonitor starts to read from the monitor. Call execute qmp_capabilities
// first: QEMU takes no other command before.
func newMonitor(conn net.Conn, onEvent func(string, json.RawMessage)) *monitor {
	m := &monitor{conn: conn, onEvent: onEvent, answers: make(chan qmpMessage, 1), ended: make(chan struct{})}
	go m.read()
	return m
}

func (m *monitor) read() {
	defer close(m.ended)
	dec := json.NewDecoder(m.conn)
	for {
		var msg qmpMessage
		if err := dec.Decode(&msg); err != nil {
			return
		}
		switch {
		case msg.Event != "":
			m.onEvent(msg.Event, msg.Data)
		case msg.Return != nil || msg.Error != nil:
			select {
			case m.answers <- msg:
			default: // an answer that is no longer waited for
			}
		}
	}
}

// execute runs one command and returns its answer.
func (m *monitor) execute(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.answers: // left over from a command that was given up
	default:
	}
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return nil, fmt.Errorf("qmp %s: %w", command, err)
	}
	select {
	case msg := <-m.answers:
		if msg.Error != nil {
			return nil, fmt.Errorf("qmp %s: %s", command, msg.Error.Desc)
		}
		return msg.Return, nil
	case <-m.ended:
		return nil, fmt.Errorf("qmp %s: %w", command, errMonitorEnded)
	case <-ctx.Done():
		return nil, fmt.Errorf("qmp %s: %w", command, ctx.Err())
	}
}
