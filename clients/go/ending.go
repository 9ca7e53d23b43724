package lockservice

import "time"

const closeWithin = time.Second

// close gives up what waits, lets the rest come through for up to a second, and ends the streams.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	for _, p := range s.awaited() {
		if p.op.waits() {
			p.settle(nil, closedError())
			s.withdraw(p)
		}
	}
	s.emptied = make(chan struct{})
	emptied := s.emptied
	s.tellEmpty()
	s.mu.Unlock()
	late := time.NewTimer(closeWithin)
	defer late.Stop()
	select {
	case <-emptied:
	case <-late.C:
	}
	s.mu.Lock()
	var ending []*stream
	for stream := range s.streams {
		ending = append(ending, stream)
		s.drop(stream, closedError)
	}
	for p := range s.unsent.all {
		p.settle(nil, closedError())
	}
	s.mu.Unlock()
	for _, stream := range ending {
		<-stream.done
	}
}

func (s *session) retire(stream *stream) {
	stream.retired = true
	stream.rouse()
	if stream == s.stream {
		s.stream = nil
		s.goOn()
	}
}

// goElsewhere leaves a stream on which nothing came until an operation was out of time. A frozen replica would hold up
// every repetition: the next stream may lead to another. But a renewal is soon out of time, where a replica may only be
// slow, and thousands that wait there would be asked again for it: they stay until one of them is out of time.
func (s *session) goElsewhere(stream *stream, late *pending) {
	fault := func() error { return streamError(nil, s.address) }
	if late.op.waits() || !stream.hasWaiting() {
		s.drop(stream, fault)
		return
	}
	for number, p := range stream.open {
		if !p.op.waits() {
			p.settle(nil, fault())
			delete(stream.open, number)
		}
	}
	s.retire(stream)
}

// ended fails what was open, so that it is repeated on the next stream.
func (s *session) ended(stream *stream, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.streams[stream] {
		return
	}
	fault := func() error { return streamError(err, s.address) }
	current := stream == s.stream
	s.forget(stream, fault)
	if current && err == nil && !stream.heard.IsZero() {
		// A replica may end a stream for its age. What was not sent has lost nothing.
		s.goOn()
	} else if current {
		for p := range s.unsent.all {
			p.settle(nil, fault())
		}
		s.unsent = queue{}
	}
	s.tellEmpty()
}

func (s *session) drop(stream *stream, fault func() error) {
	s.forget(stream, fault)
	stream.drop()
	if !s.closed {
		s.goOn()
	}
}

func (s *session) forget(stream *stream, fault func() error) {
	delete(s.streams, stream)
	stream.noMore = true
	if stream == s.stream {
		s.stream = nil
	}
	for _, p := range stream.open {
		p.settle(nil, fault())
	}
	clear(stream.open)
}

// goOn opens the next stream if something waits to be sent.
func (s *session) goOn() {
	if s.unsent.count() > 0 && s.stream == nil {
		s.open()
		s.stream.rouse()
	}
}

func (s *session) awaited() []*pending {
	var found []*pending
	for p := range s.unsent.all {
		if !p.over {
			found = append(found, p)
		}
	}
	for stream := range s.streams {
		for _, p := range stream.open {
			if !p.over {
				found = append(found, p)
			}
		}
	}
	return found
}

// tellEmpty closes the streams when a closed session has nothing open any more.
func (s *session) tellEmpty() {
	if s.emptied == nil {
		return
	}
	for p := range s.unsent.all {
		if !p.over {
			return
		}
	}
	for stream := range s.streams {
		if len(stream.open) > 0 {
			return
		}
	}
	for stream := range s.streams {
		stream.noMore = true
		stream.rouse()
	}
	if len(s.streams) == 0 {
		close(s.emptied)
		s.emptied = nil
	}
}
