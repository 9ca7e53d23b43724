package lockservice

const (
	// The service refuses more than 10,000 on one stream, and counts an operation until its answer has left. The rest is
	// for what keeps or ends a lease, or those that wait for it would fill the stream for good.
	openMax    = 9_000
	keepingMax = 500
)

// queue is what waits to be sent. What keeps or ends a lease or a claim leaves first, since others wait for a release,
// and a renewal must not come too late; what asks for one leaves after it. Each leaves in the order in which it came.
type queue struct{ keeping, asking []*pending }

func (q *queue) add(p *pending) {
	if p.op.waits() {
		q.asking = append(q.asking, p)
	} else {
		q.keeping = append(q.keeping, p)
	}
}

// next takes what leaves next on a stream with so many operations open; nil: nothing may.
func (q *queue) next(open int) *pending {
	from, room := &q.keeping, openMax+keepingMax
	if len(q.keeping) == 0 {
		from, room = &q.asking, openMax
	}
	if len(*from) == 0 || open >= room {
		return nil
	}
	p := (*from)[0]
	*from = (*from)[1:]
	return p
}

// ready counts what may leave on a stream with so many operations open.
func (q *queue) ready(open int) int {
	return min(len(q.keeping), max(0, openMax+keepingMax-open)) + min(len(q.asking), max(0, openMax-open))
}

func (q *queue) count() int { return len(q.keeping) + len(q.asking) }

// all yields everything, in the order in which it leaves.
func (q *queue) all(yield func(*pending) bool) {
	for _, each := range [][]*pending{q.keeping, q.asking} {
		for _, p := range each {
			if !yield(p) {
				return
			}
		}
	}
}
